"""``wardian doctor``: what this machine can do, what is missing, and the command that mends it."""

from __future__ import annotations

import sys

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wardian.server.node import home
from wardian.server.node.doctor import kernel, node, runtimes
from wardian.server.node.doctor.findings import Diagnosis, Finding, Isolation, State

__all__ = ["Diagnosis", "Finding", "Isolation", "State", "diagnose", "main"]

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.MISSING: "red"}
_KERNEL_WALLS = ("namespaces", "user namespaces", "overlay on idmapped layers", "seccomp filters")


def diagnose() -> Diagnosis:
    """Looks at everything; changes nothing that lasts."""
    where = home.default_home()
    findings = [*kernel.examine(where), *runtimes.examine(), *node.examine(where)]
    ok = all(finding.state is not State.MISSING for finding in findings)
    return Diagnosis(ok, [_container(findings), _gvisor(findings)], findings)


def main(*, as_json: bool = False) -> int:
    """Prints the diagnosis.

    Args:
        as_json: as one JSON object instead of tables.

    Returns:
        0, or 1 when something essential is missing.
    """
    diagnosis = diagnose()
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(diagnosis), indent=2)
        sys.stdout.write(text.decode() + "\n")
    else:
        _show(diagnosis, Console())
    return 0 if diagnosis.ok else 1


def _container(findings: list[Finding]) -> Isolation:
    broken = [f.name for f in findings if f.name in _KERNEL_WALLS and f.state is State.MISSING]
    if broken:
        return Isolation("container", "none", f"not possible here: {', '.join(broken)}")
    limits = next(f for f in findings if (f.topic, f.name) == ("cgroups", "controllers"))
    if limits.state is State.MISSING:
        return Isolation("container", "weak", "kept apart, but its use can't be limited")
    return Isolation(
        "container",
        "shared kernel",
        "own namespaces and uid range, system calls by allow-list, no host capability, no host "
        "network; a hole in the host's kernel is a hole in the wall",
    )


def _gvisor(findings: list[Finding]) -> Isolation:
    runsc = next(f for f in findings if f.name == "runsc")
    if runsc.value.startswith("not installed"):
        return Isolation("gvisor", "none", "runsc is not installed")
    if runsc.state is State.WARNING:
        return Isolation("gvisor", "weak", "the runsc here is known to be bad")
    return Isolation("gvisor", "strong", "a kernel of its own in user space before the host's")


def _show(diagnosis: Diagnosis, console: Console) -> None:
    table = Table("", "what", "found", box=None, header_style="bold")
    topic = ""
    for finding in diagnosis.findings:
        if finding.topic != topic:
            topic = finding.topic
            table.add_row("", Text(topic, "bold"), "")
        table.add_row(
            Text(finding.state.value, _STYLES[finding.state]), Text(finding.name), _told(finding)
        )
    console.print(table)
    console.print(Text("\nisolation", "bold"))
    for each in diagnosis.isolation:
        console.print(Text(f"  {each.isolation_class}: {each.grade} ({each.words})"))
    verdict = "this machine can run a node" if diagnosis.ok else "something essential is missing"
    console.print(Text(f"\n{verdict}", "green" if diagnosis.ok else "red"))


def _told(finding: Finding) -> Text:
    text = Text(finding.value)
    if finding.why is not None:
        text.append(f"\n{finding.why}")
    if finding.mend is not None:
        text.append(f"\n→ {finding.mend}", "cyan")
    return text
