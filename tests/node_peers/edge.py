"""The edge's side of its control socket: keeps routes and confirms each change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from wardian.server.node import egress_messages as egress
from wardian.server.node import protocol
from wardian.server.node.protocol import Route


@dataclass
class FakeEdge:
    """Connects, takes what it is told, and confirms it unless ``silent``."""

    path: Path
    routes: dict[str, Route] = field(default_factory=dict)
    messages: list[protocol.ToEdge] = field(default_factory=list)
    silent: bool = False
    version: int = protocol.EDGE_VERSION

    async def start(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(self.path)
        self._writer.write(protocol.encode_frame(protocol.EdgeHello(self.version)))
        self.synced = asyncio.Event()
        self.ended = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()

    async def _follow(self) -> None:
        try:
            while True:
                header = await self._reader.readexactly(protocol.HEADER)
                body = await self._reader.readexactly(protocol.body_length(header))
                self._take(protocol.decode_to_edge(body))
        except (EOFError, OSError):
            self.ended.set()

    def _take(self, message: protocol.ToEdge) -> None:
        self.messages.append(message)
        match message:
            case protocol.Sync(_, routes, _):
                self.routes = {route.sandbox: route for route in routes}
                self.synced.set()
            case protocol.Put(_, route):
                self.routes[route.sandbox] = route
            case protocol.Remove(_, sandbox):
                self.routes.pop(sandbox, None)
            case protocol.Explain(seq, policy, question):
                self._answer(protocol.Explained(seq, _explain(policy, question)))
                return
            case _:
                pass
        self._answer(protocol.Ack(message.seq))

    def report(self, report: protocol.EgressReport) -> None:
        """Tells what happened on the way out."""
        self._writer.write(protocol.encode_frame(report))

    def _answer(self, message: protocol.FromEdge) -> None:
        if not self.silent:
            self._writer.write(protocol.encode_frame(message))


def _explain(policy: egress.Policy, question: egress.Question) -> egress.Explanation:
    """As much of matching as tells one rule from another: exact hosts and ``*``."""
    for index, rule in enumerate(policy.rules):
        if question.host in rule.hosts or "*" in rule.hosts or not rule.hosts:
            allowed = isinstance(rule.action, egress.Allow)
            return egress.Explanation(
                allowed, rule.name, index, False, allowed, [], None, f"rule {rule.name} decides"
            )
    return egress.Explanation(False, None, None, False, False, [], None, "no rule matches")
