"""The edge's side of its control socket: keeps routes and confirms each change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from wardian.server.node import edge_messages, protocol
from wardian.server.node import egress_messages as egress
from wardian.server.node.edge_messages import Route


@dataclass
class FakeEdge:
    """Connects, takes what it is told, and confirms it unless ``silent``."""

    path: Path
    routes: dict[str, Route] = field(default_factory=dict)
    messages: list[edge_messages.ToEdge] = field(default_factory=list)
    silent: bool = False
    version: int = edge_messages.EDGE_VERSION

    async def start(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(self.path)
        self._writer.write(protocol.encode_frame(edge_messages.EdgeHello(self.version)))
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
                self._take(edge_messages.decode_to_edge(body))
        except (EOFError, OSError):
            self.ended.set()

    def _take(self, message: edge_messages.ToEdge) -> None:
        self.messages.append(message)
        match message:
            case edge_messages.Sync(_, routes, _):
                self.routes = {route.sandbox: route for route in routes}
                self.synced.set()
            case edge_messages.Put(_, route):
                self.routes[route.sandbox] = route
            case edge_messages.Remove(_, sandbox):
                self.routes.pop(sandbox, None)
            case edge_messages.Explain(seq, policy, question):
                self._answer(edge_messages.Explained(seq, _explain(policy, question)))
                return
            case _:
                pass
        self._answer(edge_messages.Ack(message.seq))

    def report(self, report: edge_messages.EgressReport) -> None:
        """Tells what happened on the way out."""
        self._writer.write(protocol.encode_frame(report))

    def _answer(self, message: edge_messages.FromEdge) -> None:
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
