"""`make bench`: measures a node of its own, prints the results, writes build/bench.json.

`make bench ONLY=exec_true_ms,idle_mb` runs those that yield the named results.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import (
    burst,
    cold_start,
    echo,
    egress,
    exec_true,
    fanout,
    idle,
    machine,
    preview,
    transfer,
    watch,
)
from benchmarks.node import Node, started
from benchmarks.results import Result

BENCHMARKS: dict[tuple[str, ...], Callable[[Node], Iterator[Result]]] = {
    # First, for what others leave in caches comes and goes, and would drown what a sandbox costs.
    ("idle_mb",): idle.measure,
    ("cold_start_ms", "cold_start_p99_ms", "runc_start_ms"): cold_start.measure,
    ("exec_true_ms",): exec_true.measure,
    ("echo_ms", "echo_p99_ms"): echo.measure,
    ("watch_ms", "watch_p99_ms"): watch.measure,
    ("preview_rps_ratio", "preview_added_ms"): preview.measure,
    (
        "egress_rps_ratio",
        "egress_fresh_rps_ratio",
        "egress_mb_s_ratio",
        "egress_splice_ratio",
        "egress_added_ms",
        "egress_added_p99_ms",
        "handler_rps",
        "egress_edge_mb",
        "egress_sandboxes",
    ): egress.measure,
    ("burst100_p95_ms", "burst100_success"): burst.measure,
    ("fanout_mb_s",): fanout.measure,
    ("upload_mb_s", "download_mb_s"): transfer.measure,
}
OUTPUT = Path("build/bench.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", help="names of results, separated by commas")
    names = {name for name in parser.parse_args().only.split(",") if name}
    known = {name for group in BENCHMARKS for name in group}
    if unknown := names - known:
        parser.error(f"no such result: {', '.join(sorted(unknown))}; there are {sorted(known)}")
    results: list[Result] = []
    with started() as node:
        for group, measure in BENCHMARKS.items():
            if not names or names & set(group):
                print(f"measuring {', '.join(group)} …", file=sys.stderr, flush=True)
                results += [r for r in measure(node) if not names or r.name in names]
    Console().print(table(results))
    write(results)
    return 0


def table(results: list[Result]) -> Table:
    shown = Table("result", "value", "baseline", "goal", "met", "note")
    for result in results:
        bound = "≤" if result.better == "lower" else "≥"
        baseline = f"{result.baseline:.1f} ({result.baseline_name})" if result.baseline else ""
        shown.add_row(
            result.name,
            f"{result.value:.2f} {result.unit}",
            baseline,
            "" if result.goal is None else f"{bound} {result.goal:g}",
            {True: "yes", False: "NO", None: ""}[result.met],
            result.note,
        )
    return shown


def write(results: list[Result]) -> None:
    OUTPUT.parent.mkdir(exist_ok=True)
    report = {
        "machine": machine.describe(),
        "commit": machine.commit(),
        "results": [result.as_json() for result in results],
    }
    OUTPUT.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
