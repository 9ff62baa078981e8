"""Real package managers from inside a sandbox that reaches registries and git hosts, and no more.

`python examples/egress_packages.py`: pip, npm and git fetch something small each, through the
presets `packages` and `git-hosts`, from where the server's own machine fetches. What that machine
can't reach is said, and skipped.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from wardian import Egress, EgressEvent, Sandbox, WardianError


@dataclass(frozen=True)
class Errand:
    """Something to fetch.

    Attributes:
        what: For people.
        needs: The program that does it.
        command: What is run.
    """

    what: str
    needs: str
    command: str


ERRANDS = (
    Errand(
        "a Python package",
        "pip",
        "pip install --quiet --disable-pip-version-check --retries 1 --target /tmp/site six"
        " && PYTHONPATH=/tmp/site python3 -c 'import six; print(\"six\", six.__version__)'",
    ),
    Errand(
        "a Node.js package",
        "npm",
        "mkdir -p /tmp/js && cd /tmp/js && npm install --silent --fetch-retries 1 is-number"
        " && node -e \"console.log('is-number', require('is-number')(42))\"",
    ),
    Errand(
        "a git repository",
        "git",
        "git clone --quiet --depth 1 https://github.com/octocat/Hello-World.git /tmp/hello"
        " && git -C /tmp/hello log --oneline",
    ),
)


def run(sandbox: Sandbox, errand: Errand) -> bool | None:
    """Do it; None where it had to be skipped."""
    if not sandbox.run(f"command -v {errand.needs}").ok:
        print(f"skipped  {errand.what}: the template has no {errand.needs}")
        return None
    last = max((event.id for event in sandbox.egress.events()), default=0)
    done = sandbox.run(errand.command, timeout=180)
    if done.ok:
        print(f"fetched  {errand.what}: {done.stdout.strip().splitlines()[-1]}")
        return True
    refused, failed = stopped(sandbox, last)
    if failed and not refused:
        where = ", ".join(sorted({f"{event.host} ({event.reason})" for event in failed}))
        print(f"skipped  {errand.what}: not reachable from this node: {where}")
        return None
    print(f"failed   {errand.what}: {done.stderr.strip()[-500:]}")
    for event in refused:
        print(f"         refused: {event.host}:{event.port} {event.reason}")
    return False


def stopped(sandbox: Sandbox, last: int) -> tuple[list[EgressEvent], list[EgressEvent]]:
    """What was refused and what failed; the server hears of it a moment after it has."""
    for _ in range(50):
        events = [event for event in sandbox.egress.events() if event.id > last]
        refused = [event for event in events if event.verdict == "denied"]
        failed = [event for event in events if event.verdict == "failed"]
        if refused or failed:
            return refused, failed
        time.sleep(0.1)
    return [], []


def main() -> int:
    """Exit code 0 if nothing that can be reached failed, and the rest is still refused."""
    parser = argparse.ArgumentParser(description="Package managers in a sandbox.")
    parser.add_argument("--url", help="the server; WARDIAN_URL if not given")
    url = parser.parse_args().url
    try:
        with Sandbox.create("base", egress=Egress("packages", "git-hosts"), url=url) as sandbox:
            outcomes = [run(sandbox, errand) for errand in ERRANDS]
            refused = not sandbox.run("curl -sS --max-time 20 https://example.com/").ok
            print(f"example.com, which no rule names: {'refused' if refused else 'reached!'}")
    except WardianError as error:
        print(f"error: {error}")
        if error.hint:
            print(f"hint: {error.hint}")
        return 1
    return 0 if refused and False not in outcomes else 1


if __name__ == "__main__":
    raise SystemExit(main())
