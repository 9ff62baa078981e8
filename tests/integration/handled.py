"""A node of its own with handlers, a sandbox whose every host has one, and what lies behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server_fixture import StartNode

from wardian import Egress, EgressEvent, Handler, Header, Sandbox, Secrets
from wardian.server.node.temporary import TemporaryNode

from . import handled_upstream
from .handled_upstream import TOKENS, Seen, Upstream
from .waiting import until

DOMAIN = "handled.example"
PROGRAMS = Path(__file__).parent / "programs"
EXAMPLES = Path(__file__).parents[2] / "examples" / "handlers"
TOKEN = "the-token-that-no-sandbox-holds"
PLAIN = ("own", "adds", "refuses", "refuses-answer", "blocks", "dies", "raises", "breaks-off",
         "falls-back", "counts", "holds", "changes", "nobody", "team", "mirror",
         "measured")  # fmt: skip
#: Of tokens: two streams.
BUDGET = 2 * TOKENS


@dataclass(frozen=True, slots=True)
class Handled:
    """What :func:`handling` starts. A host is called like its handler."""

    node: TemporaryNode
    directory: Path
    upstream: Upstream
    sandbox: Sandbox

    def url(self, handler: str, path: str = "/v1/x") -> str:
        """Where a request goes through this handler."""
        return f"https://{handler}.{DOMAIN}{path}"

    def ask(self, handler: str, path: str = "/v1/x", *words: str) -> Answer:
        """What curl gets; ``words`` are more of its options."""
        command = ["curl", "-sS", "--include", *words, self.url(handler, path)]
        done = self.sandbox.run(command, timeout=60)
        head, _, body = done.stdout.partition("\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
        status = int(head.split()[1]) if head else 0
        return Answer(done.exit_code, status, {name: value for name, value in lines}, body)

    def told(self, handler: str) -> EgressEvent:
        """What is on record of the last request to this handler, once it is."""
        host = f"{handler}.{DOMAIN}"
        events = self.sandbox.egress.events
        return until(lambda: next(iter(events(host=host, kind="request"))), f"events of {host}")

    def arrived(self, handler: str) -> list[Seen]:
        """What got through."""
        host = f"{handler}.{DOMAIN}"
        return [each for each in self.upstream.requests if each.headers["host"] == host]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client was told."""

    exit_code: int
    status: int
    headers: dict[str, str]
    body: str

    @property
    def error(self) -> dict[str, str]:
        """What its body says went wrong."""
        return json.loads(self.body)["error"]


@contextmanager
def handling(start_node: StartNode) -> Generator[Handled]:
    """Starts the node, with the handlers of ``programs/handlers`` and one of the examples."""
    # Below a directory that the users of the node may enter.
    where = Path(tempfile.mkdtemp(dir="/var/tmp"))
    where.chmod(0o755)
    handlers = where / "handlers"
    handlers.mkdir()
    shutil.copy(EXAMPLES / "llm.py", handlers)
    shutil.copy(PROGRAMS / "handlers" / "tried.py", handlers)
    try:
        with handled_upstream.running(where, DOMAIN) as upstream:
            words = ("--handlers", str(handlers), "--trust", str(upstream.certificate))
            with start_node(templates=("base",), arguments=words) as node:
                server = {"url": node.url, "api_key": node.api_key}
                Secrets(**server).set("HANDLED_TOKEN", TOKEN)
                labels = {"team": "first"}
                with Sandbox.create(
                    "base", timeout=900, egress=policy(upstream), labels=labels, **server
                ) as sandbox:
                    yield Handled(node, handlers, upstream, sandbox)
    finally:
        shutil.rmtree(where)


def policy(upstream: Upstream) -> Egress:
    """A rule for each handler, for the host called like it."""
    behind: dict[str, Any] = {"connect_to": upstream.address}
    token = Header("Authorization", "Bearer {HANDLED_TOKEN}")
    egress = Egress().allow(f"llm.{DOMAIN}", handler=Handler("llm", tokens=BUDGET), **behind)
    for name in PLAIN:
        egress = egress.allow(f"{name}.{DOMAIN}", handler=name, inject=token, **behind)
    for name in ("sleeps", "sleeps-over-answer"):
        egress = egress.allow(f"{name}.{DOMAIN}", handler=Handler(name, timeout=0.3), **behind)
    told = Handler("facts", limits={"rows": [1, 2]}, word="é")
    return egress.allow(f"facts.{DOMAIN}", handler=told, inject=token, **behind).allow(
        f"moves.{DOMAIN}", handler="moves", path="/v1/**", **behind
    )
