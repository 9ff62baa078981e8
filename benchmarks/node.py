"""The node that is measured."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import upstream
from benchmarks.machine import process_memory
from wardian.server.node import temporary


@dataclass(frozen=True, slots=True)
class Node:
    """A temporary node, seen by its operator."""

    running: temporary.TemporaryNode
    #: What `upstream.authority` made; the node trusts it.
    authority: Path

    def template_rootfs(self, name: str) -> Path:
        """The topmost layer of a template, which for those made by a recipe is all of it."""
        template = self.running.request("GET", f"/v1/templates/{name}")
        return self.running.pool / "layers" / template["layers"][0]

    def peaks(self, sandbox: str) -> list[tuple[str, int]]:
        """The most memory that edge and agent were ever resident with, in bytes."""
        record = json.loads((self.running.run / f"launcher/sandboxes/{sandbox}.json").read_text())
        agent = record["phase"]["pid"]
        return [("edge", self.edge_peak()), ("agent", process_memory(agent))]

    def edge_peak(self) -> int:
        """The most memory that the edge was ever resident with, in bytes."""
        return process_memory(self.running.edge_pid())


_HANDLER = """
from wardian.handlers import Request, Sandbox, handler

@handler("header")
async def header(request: Request, sandbox: Sandbox) -> Request:
    request.headers["Authorization"] = "Bearer of-the-benchmark"
    return request
"""


@contextmanager
def started() -> Generator[Node]:
    """A node with the template `base`; the SDK in this process finds it by the environment."""
    with upstream.authority() as authority:
        handlers = authority / "handlers"
        handlers.mkdir()
        (handlers / "header.py").write_text(_HANDLER)
        arguments = ("--trust", str(authority / "authority.pem"), "--handlers", str(handlers))
        with temporary.running(
            templates=("base",), pool_size="24G", arguments=arguments
        ) as running:
            os.environ["WARDIAN_URL"] = running.url
            os.environ["WARDIAN_API_KEY"] = running.api_key
            yield Node(running, authority)
