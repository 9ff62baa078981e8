"""Requests out of a sandbox, beside mitmproxy before the same server under the same load.

`wrk` runs in the sandbox's network and, for the others, in one that is joined to this machine by a
wire of the same kind. TLS on both sides, TLS 1.3, 1 KiB answers, one header put in.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httpx

from benchmarks import generator, mitmproxy, upstream
from benchmarks.generator import Load, Place
from benchmarks.node import Node
from benchmarks.results import Result, median
from wardian import AsyncSandbox, Sandbox

SECONDS = 4
ROUNDS = 3
CONNECTIONS = 16
SANDBOXES = 100
REQUESTS_EACH = 20
SECRET = "BENCHMARK_TOKEN"
_FRESH = ("Connection: close",)


@dataclass(slots=True)
class _Way:
    """One way to the server, and what was measured on it."""

    place: Place
    port: int
    name: str = "opened.example"
    loads: dict[str, list[Load]] = field(default_factory=dict[str, list[Load]])

    def measure(self, what: str) -> None:
        """One round of `what`."""
        path, connections, headers = _WHAT[what]
        url = f"https://{self.name}:{self.port}{path}"
        load = self.place.wrk(url, connections=connections, seconds=SECONDS, headers=headers)
        self.loads.setdefault(what, []).append(load)

    def middle(self, what: str, of: Callable[[Load], float]) -> float:
        """The median of the rounds."""
        return median([of(load) for load in self.loads[what]])


_WHAT: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "kept": ("/small", CONNECTIONS, ()),
    "fresh": ("/small", CONNECTIONS, _FRESH),
    "large": ("/large", 4, ()),
    "single": ("/small", 1, ()),
}


_TIMES: dict[str, Callable[[Load], float]] = {
    "egress_added_ms": lambda load: load.median,
    "egress_added_p99_ms": lambda load: load.p99,
}


def measure(node: Node) -> Iterator[Result]:
    with ExitStack() as stack:
        server = stack.enter_context(upstream.serving(node.authority))
        proxy = stack.enter_context(mitmproxy.running(server))
        beside = generator.at_this_machine(stack.enter_context(generator.beside()), upstream.NAMES)
        api = stack.enter_context(_api(node))
        sandbox = stack.enter_context(Sandbox.create("base", timeout=None))
        _allow(api, sandbox.id, server.port)
        inside = _place(node, sandbox)
        straight, through = _Way(beside, server.port), _Way(inside, 443)
        spliced = _Way(inside, 443, "spliced.example")
        handled = _Way(inside, 443, "handled.example")
        other = _Way(beside, proxy.port)
        # In turns, so that whatever else the machine does falls on all.
        for _ in range(ROUNDS):
            for what in _WHAT:
                for way in (straight, through, other):
                    way.measure(what)
            spliced.measure("large")
            handled.measure("kept")
        yield from _results(straight, through, other, spliced)
        yield _handled(handled, through, other)
        yield _memory(node, proxy)
        yield asyncio.run(_many(node, server.port))


def _results(straight: _Way, through: _Way, other: _Way, spliced: _Way) -> Iterator[Result]:
    for name, what, goal in (
        ("egress_rps_ratio", "kept", 10.0),
        ("egress_fresh_rps_ratio", "fresh", None),
    ):
        own, theirs, bare = (
            way.middle(what, lambda load: load.requests) for way in (through, other, straight)
        )
        note = f"{own:.0f} of {theirs:.0f} requests/s; {bare:.0f} without anything between"
        yield Result(
            name, own / theirs, "x", 1.0, "mitmproxy 11", goal=goal, better="higher", note=note
        )
    own, theirs, bare, passed = (
        way.middle("large", lambda load: load.megabytes)
        for way in (through, other, straight, spliced)
    )
    yield Result(
        "egress_mb_s_ratio",
        own / theirs,
        "x",
        1.0,
        "mitmproxy 11",
        goal=2,
        better="higher",
        note=f"{own:.0f} of {theirs:.0f} MB/s; {bare:.0f} without anything between",
    )
    yield Result(
        "egress_splice_ratio",
        passed / bare,
        "x",
        1.0,
        "the same server asked straight",
        better="higher",
        note=f"{passed:.0f} of {bare:.0f} MB/s, TLS not opened",
    )
    for name, of in _TIMES.items():
        own, theirs, bare = (way.middle("single", of) for way in (through, other, straight))
        note = f"one connection, one request at a time; mitmproxy adds {theirs - bare:.2f}"
        yield Result(name, own - bare, "ms", bare, "the same server asked straight", note=note)


def _handled(handled: _Way, through: _Way, other: _Way) -> Result:
    """A handler that sets the header, as mitmproxy's addon does: Python decides in both."""
    own, injected, theirs = (
        way.middle("kept", lambda load: load.requests) for way in (handled, through, other)
    )
    note = f"a handler in Python sets the header; {injected:.0f} where a rule puts it in"
    return Result(
        "handler_rps", own, "requests/s", theirs, "mitmproxy 11", better="higher", note=note
    )


def _memory(node: Node, proxy: mitmproxy.Mitmproxy) -> Result:
    return Result(
        "egress_edge_mb",
        node.edge_peak() / 1e6,
        "MB",
        proxy.peak_bytes() / 1e6,
        "mitmproxy 11",
        note="the most it was ever resident with",
    )


async def _many(node: Node, port: int) -> Result:
    """Sandboxes that all ask at once."""
    sandboxes = await asyncio.gather(
        *(AsyncSandbox.create("base", timeout=None) for _ in range(SANDBOXES))
    )
    with _api(node) as api:
        for sandbox in sandboxes:
            _allow(api, sandbox.id, port)
    urls = [f"https://opened.example/small?{n}" for n in range(REQUESTS_EACH)]
    command = [
        "curl",
        "-sS",
        "--fail",
        *(word for url in urls for word in ("-o", "/dev/null", url)),
    ]
    command += ["-w", "%{http_code}\n"]
    begin = perf_counter()
    answers = await asyncio.gather(*(sandbox.run(command) for sandbox in sandboxes))
    took = perf_counter() - begin
    await asyncio.gather(*(sandbox.kill() for sandbox in sandboxes))
    good = sum(answer.stdout.split().count("200") for answer in answers)
    return Result(
        "egress_sandboxes",
        good / (SANDBOXES * REQUESTS_EACH),
        "of 1",
        goal=1,
        better="higher",
        note=f"{SANDBOXES} sandboxes with {REQUESTS_EACH} requests each: {good / took:.0f}/s",
    )


def _api(node: Node) -> httpx.Client:
    headers = {"authorization": f"Bearer {node.running.api_key}"}
    return httpx.Client(base_url=node.running.url, headers=headers, trust_env=False, timeout=60)


def _allow(api: httpx.Client, sandbox: str, port: int) -> None:
    """Lets it reach the server: opened with a header put in, spliced, and by way of a handler."""
    api.put(f"/v1/secrets/{SECRET}", json={"value": "of-the-benchmark"}).raise_for_status()
    rule: dict[str, Any] = {"action": "allow", "connect_to": f"127.0.0.1:{port}", "ports": [443]}
    header = {"header": "Authorization", "value": f"Bearer {{{SECRET}}}"}
    rules = [
        {**rule, "host": "opened.example", "inject": [header]},
        {**rule, "host": "spliced.example"},
        {**rule, "host": "handled.example", "handler": {"name": "header"}},
    ]
    answer = api.put(f"/v1/sandboxes/{sandbox}/egress", json={"rules": rules, "template": False})
    answer.raise_for_status()


def _place(node: Node, sandbox: Sandbox) -> Place:
    """The sandbox's network, with the addresses that stand for names in it."""
    record = json.loads((node.running.run / f"launcher/sandboxes/{sandbox.id}.json").read_text())
    addresses = {
        name: sandbox.run(["getent", "ahostsv4", name], check=True).stdout.split()[0]
        for name in upstream.NAMES
    }
    return Place(f"/proc/{record['phase']['pid']}/ns/net", addresses)
