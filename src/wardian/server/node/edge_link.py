"""Tells the edge which sandboxes exist. The edge connects here and keeps what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterable

import msgspec

from wardian.server.errors import Unavailable
from wardian.server.node import edge_messages, protocol
from wardian.server.node.edge_messages import EgressReport, Explain, Put, Remove, Route, Sync
from wardian.server.node.egress_messages import Explanation, Policy, Question, Settings

log = logging.getLogger(__name__)

_HELLO_TIMEOUT = 5.0
_REST_TIMEOUT = 30.0
_MOST_UNSENT = 16 * 1024 * 1024
# Of what a frame may hold; the rest is for what every route has and for the certificates.
_MOST_SYNCED = protocol.MAX_BODY // 2
_PEER_CREDENTIALS = struct.Struct("=iII")


class _Session:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._awaited: dict[int, asyncio.Future[Explanation | None]] = {}

    @property
    def open(self) -> bool:
        return not self._writer.is_closing()

    def send(self, message: Sync | Put | Remove | Explain) -> None:
        if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT:
            log.warning("edge does not read, dropping its connection")
            self.close()
            return
        self._writer.write(protocol.encode_frame(message))

    async def taken(self) -> None:
        """Waits until most of what was sent is on its way."""
        await self._writer.drain()

    def awaited(self, seq: int) -> asyncio.Future[Explanation | None]:
        future = self._awaited[seq] = asyncio.get_running_loop().create_future()
        return future

    def forget(self, seq: int) -> None:
        self._awaited.pop(seq, None)

    def answered(self, seq: int, answer: Explanation | None) -> None:
        future = self._awaited.get(seq)
        if future is not None and not future.done():
            future.set_result(answer)

    def close(self) -> None:
        self._writer.close()
        # Nobody need wait: the edge gets everything again when it comes back.
        for seq in list(self._awaited):
            self.answered(seq, None)


class EdgeLink:
    """The routes, and the edge that is told of them.

    Args:
        allowed_uids: whose connections are taken.
        ack_timeout: seconds the edge has to confirm a change; then its connection is dropped, so
            that it comes back and gets everything.
        return_timeout: seconds a new sandbox waits for an edge that is away; one that was started
            anew, or lost its connection, tries again every second.
        settings: what the edge needs for the way out, whoever goes it.
        reported: told what happened on the way out; must not wait.
    """

    def __init__(
        self,
        allowed_uids: Collection[int],
        ack_timeout: float = 2.0,
        return_timeout: float = 3.0,
        settings: Settings | None = None,
        reported: Callable[[EgressReport], None] | None = None,
    ) -> None:
        self._allowed = frozenset(allowed_uids)
        self._ack_timeout = ack_timeout
        self._return_timeout = return_timeout
        self._settings = settings or Settings("", "", "")
        self._reported = reported
        self._synced = asyncio.Event()
        self._routes: dict[str, Route] = {}
        self._session: _Session | None = None
        self._seq = 0

    @property
    def connected(self) -> bool:
        """Whether an edge is there."""
        return self._session is not None

    def restore(self, routes: Iterable[Route]) -> None:
        """Sets the routes known at start, before any edge is served."""
        self._routes = {route.sandbox: route for route in routes}

    def route(self, sandbox: str) -> Route | None:
        """What the edge is told of a sandbox."""
        return self._routes.get(sandbox)

    async def put(self, route: Route) -> None:
        """Adds or changes a sandbox; returns when the edge routes so, or no edge is there."""
        self._routes[route.sandbox] = route
        await self._announce(Put(self._next(), route))

    async def introduce(self, route: Route) -> None:
        """Adds a new sandbox, whose maker will use it at once: waits for an edge that is away.

        After a restart of this process or of the edge requests come in before routes go out.
        """
        if self._session is not None:
            await self.put(route)
            return
        self._routes[route.sandbox] = route
        try:
            async with asyncio.timeout(self._return_timeout):
                await self._synced.wait()
        except TimeoutError:
            log.warning("no edge to tell of a sandbox", extra={"sandbox": route.sandbox})

    async def remove(self, sandbox: str) -> None:
        """Removes a sandbox; returns when the edge has cut it off, or no edge is there."""
        if self._routes.pop(sandbox, None) is not None:
            await self._announce(Remove(self._next(), sandbox))

    async def explain(self, policy: Policy, question: Question) -> Explanation:
        """What the edge would do under a policy.

        Raises:
            Unavailable: there is no edge, or it does not answer.
        """
        session = self._session
        if session is not None and session.open:
            message = Explain(self._next(), policy, question)
            future = session.awaited(message.seq)
            session.send(message)
            try:
                async with asyncio.timeout(self._ack_timeout):
                    answer = await future
                if answer is not None:
                    return answer
            except TimeoutError:
                log.warning("edge did not answer a question in time")
            finally:
                session.forget(message.seq)
        raise Unavailable("the edge is not there to explain it", "try again in a moment")

    async def serve(self, listener: socket.socket) -> None:
        """Takes connections until cancelled.

        Args:
            listener: a bound, listening, non-blocking Unix socket.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as sessions:
            while True:
                try:
                    peer, _ = await loop.sock_accept(listener)
                except OSError as error:
                    log.error("can't take a connection of the edge", extra={"cause": repr(error)})
                    await asyncio.sleep(0.1)
                    continue
                sessions.create_task(self._attend(peer))

    async def _attend(self, peer: socket.socket) -> None:
        uid = _peer_uid(peer)
        if uid not in self._allowed:
            log.warning("refused a connection to edge.sock", extra={"uid": uid})
            peer.close()
            return
        reader, writer = await asyncio.open_unix_connection(sock=peer)
        session = _Session(writer)
        try:
            await _expect_hello(reader)
            await self._begin(session)
            while True:
                self._take(session, await _read(reader))
        except (OSError, EOFError, ValueError, msgspec.MsgspecError) as error:
            log.info("edge disconnected", extra={"cause": repr(error)})
        finally:
            if self._session is session:
                self._session = None
                self._synced.clear()
            session.close()

    def _take(self, session: _Session, message: edge_messages.FromEdge) -> None:
        match message:
            case edge_messages.Ack(seq):
                session.answered(seq, None)
                if self._session is session:
                    self._synced.set()
            case edge_messages.Explained(seq, explanation):
                session.answered(seq, explanation)
            case edge_messages.EgressReport():
                if self._reported is not None:
                    self._reported(message)
            case edge_messages.EdgeHello():
                raise ValueError("a second hello")

    async def _begin(self, session: _Session) -> None:
        # A new connection means a new edge: an older one is dead or about to be.
        if self._session is not None:
            self._session.close()
        self._session = session
        self._synced.clear()
        routes, later = _fitting(self._routes.values())
        session.send(Sync(self._next(), routes, self._settings))
        log.info("edge connected", extra={"sandboxes": len(routes)})
        async with asyncio.timeout(_REST_TIMEOUT):
            for sandbox in later:
                await session.taken()
                # As it is by now; one that has ended meanwhile was told to be removed.
                if (route := self._routes.get(sandbox)) is not None:
                    session.send(Put(self._next(), route))

    async def _announce(self, message: Put | Remove) -> None:
        session = self._session
        if session is None or not session.open:
            return
        confirmed = session.awaited(message.seq)
        session.send(message)
        try:
            async with asyncio.timeout(self._ack_timeout):
                await confirmed
        except TimeoutError:
            log.warning("edge did not confirm a change in time", extra={"seq": message.seq})
            session.close()
        finally:
            session.forget(message.seq)

    def _next(self) -> int:
        self._seq += 1
        return self._seq


def _fitting(routes: Iterable[Route]) -> tuple[list[Route], list[str]]:
    """All routes as one message holds them, and the sandboxes whose policies found no room in it:
    these are told once more, whole. Until then nothing leaves them.
    """
    told: list[Route] = []
    later: list[str] = []
    room = _MOST_SYNCED
    for route in routes:
        room -= len(msgspec.json.encode(route))
        if room < 0 and route.egress.rules:
            later.append(route.sandbox)
            told.append(msgspec.structs.replace(route, egress=Policy()))
        else:
            told.append(route)
    return told, later


async def _read(reader: asyncio.StreamReader) -> edge_messages.FromEdge:
    header = await reader.readexactly(protocol.HEADER)
    return edge_messages.decode_from_edge(await reader.readexactly(protocol.body_length(header)))


async def _expect_hello(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(_HELLO_TIMEOUT):
        hello = await _read(reader)
    if not isinstance(hello, edge_messages.EdgeHello):
        raise ValueError("an edge must say hello first")
    if hello.version != edge_messages.EDGE_VERSION:
        raise ValueError(f"edge speaks version {hello.version}, not {edge_messages.EDGE_VERSION}")


def _peer_uid(peer: socket.socket) -> int | None:
    with contextlib.suppress(OSError):
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        return _PEER_CREDENTIALS.unpack(credentials)[1]
    return None
