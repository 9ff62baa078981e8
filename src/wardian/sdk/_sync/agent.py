# Generated from _async/agent.py by tools/generate_sync.py: change it there.
"""Calls to one sandbox's agent: Connect RPC and files, at the server's own address."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from .._body import Body
from .._connect import EnvelopeDecoder, RpcError, envelope
from .._errors import (
    ProtocolError,
    RequestTimeout,
    SandboxError,
    SandboxGone,
    WardianError,
)
from .._events import Event, EventDecoder
from .._http1 import header_block
from .._refusals import from_agent, from_rpc
from .._websocket import accept_for, new_key
from .transport import Request, Response, Transport
from .websocket import WebSocket

T = TypeVar("T")
Query = Mapping[str, str] | Sequence[tuple[str, str]]

_KEEPALIVE_SECONDS = 30
# Three missed keepalives: the connection leads nowhere any more.
_STREAM_SILENCE = 3.0 * _KEEPALIVE_SECONDS
# The agent breaks a silence of 15 seconds.
_EVENT_SILENCE = 60.0
_ERROR_LIMIT = 256 * 1024


class Messages:
    """The messages of one server stream."""

    def __init__(self, response: Response, sandbox_id: str) -> None:
        self._response = response
        self._decoder = EnvelopeDecoder()
        self._sandbox_id = sandbox_id

    def receive(self) -> list[bytes]:
        """Wait for messages; an empty list is the regular end.

        Raises:
            SandboxError: The call failed in the sandbox; as the stream says.
            SandboxGone: The stream was cut off, as it is when the sandbox ends.
        """
        while not self._decoder.ended:
            piece = _receive(self._response, self._sandbox_id)
            if not piece:
                raise _cut_off(self._response, self._sandbox_id)
            try:
                messages = self._decoder.feed(piece)
            except ProtocolError:
                self.close()
                raise
            if messages:
                return messages
        # The framing's own end, so that the connection can be used again.
        if self._response.receive():
            self.close()
        return []

    @property
    def error(self) -> RpcError | None:
        """What the end of the stream reported."""
        return self._decoder.error

    def close(self) -> None:
        """Stop listening."""
        self._response.close()


class Events:
    """The events of one stream, as the agent's services send them."""

    def __init__(self, response: Response, sandbox_id: str) -> None:
        self._response = response
        self._decoder = EventDecoder()
        self._sandbox_id = sandbox_id

    def receive(self) -> list[Event]:
        """Wait for events; an empty list is the regular end.

        Raises:
            SandboxGone: The stream was cut off, as it is when the sandbox ends.
        """
        while True:
            piece = _receive(self._response, self._sandbox_id)
            if not piece:
                return []
            events = self._decoder.feed(piece)
            if events:
                return events

    def close(self) -> None:
        """Stop listening."""
        self._response.close()


class Agent:
    """One sandbox's agent."""

    def __init__(self, transport: Transport, sandbox_id: str, port: int, token: str) -> None:
        self.sandbox_id = sandbox_id
        self._transport = transport
        self._prefix = transport.endpoint.prefix
        # Whether the server is on this machine, where nothing is gained by compressing.
        self.is_local = transport.endpoint.host in ("localhost", "127.0.0.1", "::1")
        base = header_block(
            {
                "Host": transport.endpoint.authority,
                "Wardian-Sandbox-Id": sandbox_id,
                "Wardian-Sandbox-Port": str(port),
                "X-Access-Token": token,
                "User-Agent": "wardian-python",
                "Accept-Encoding": "identity",
            }
        )
        connect = b"Connect-Protocol-Version: 1\r\n"
        self._plain = base
        self._unary = base + connect + b"Content-Type: application/json\r\n"
        self._stream = (
            base
            + connect
            + header_block(
                {
                    "Content-Type": "application/connect+json",
                    "Keepalive-Ping-Interval": str(_KEEPALIVE_SECONDS),
                }
            )
        )

    def call(
        self,
        method: str,
        message: object,
        kind: type[T],
        *,
        user: str | None = None,
        path: str | None = None,
        timeout: float = 60.0,
    ) -> T:
        """A unary call.

        Args:
            method: `package.Service/Method`.
            message: What to send, as JSON.
            kind: What the answer is decoded to.
            user: The user the call names; None is the sandbox's default.
            path: The file it is about, for errors.
            timeout: Seconds to wait for the answer.
        """
        headers = self._unary + _user_header(user)
        body = msgspec.json.encode(message)
        request = Request("POST", f"{self._prefix}/{method}", headers, body, timeout)
        reply = self._transport.fetch(request)
        if reply.status != 200:
            raise from_agent(reply.status, reply.body, self.sandbox_id, path)
        return self._decode(reply.body, kind)

    def stream(
        self,
        method: str,
        message: bytes,
        *,
        user: str | None = None,
        timeout: float | None = None,
    ) -> Messages:
        """Open a server stream.

        Args:
            method: `package.Service/Method`.
            message: The request, encoded.
            user: The user the call names; None is the sandbox's default.
            timeout: Seconds after which the agent ends it, and for Start the process too.
        """
        headers = self._stream + _user_header(user)
        if timeout is not None:
            headers += b"Connect-Timeout-Ms: %d\r\n" % max(1, round(timeout * 1000))
        request = Request(
            "POST", f"{self._prefix}/{method}", headers, envelope(message), _STREAM_SILENCE
        )
        response = self._transport.open(request)
        if response.status != 200:
            body = response.read(_ERROR_LIMIT)
            raise from_agent(response.status, body, self.sandbox_id)
        return Messages(response, self.sandbox_id)

    def file(
        self,
        method: str,
        path: str,
        *,
        user: str | None = None,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
        expect: tuple[int, ...] = (200,),
    ) -> Response:
        """A call to /files.

        Args:
            method: GET or POST.
            path: The file.
            user: The user the call names; None is the sandbox's default.
            headers: More headers.
            body: The content to write.
            expect: Every other status is an error.
        """
        query = {"path": path} if user is None else {"path": path, "username": user}
        target = f"{self._prefix}/files?{urlencode(query, quote_via=quote)}"
        block = self._plain + (header_block(headers) if headers else b"")
        response = self._transport.open(Request(method, target, block, body, 300.0))
        if response.status not in expect:
            content = response.read(_ERROR_LIMIT)
            raise from_agent(response.status, content, self.sandbox_id, path)
        return response

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: dict[str, str] | None = None,
        body: Body | None = None,
        about: str | None = None,
        silence: float | None = 300.0,
        expect: tuple[int, ...] = (200,),
    ) -> Response:
        """A call to one of Wardian's own services, its answer unread.

        Args:
            method: The HTTP method.
            path: Below `/v1/`, its parts percent-encoded.
            query: Names and values; surrogate escapes stand for bytes that are no UTF-8.
            headers: More headers.
            body: What to send.
            about: The file it is about, for errors.
            silence: Seconds that the other side may be silent; None waits for ever.
            expect: Every other status is an error.
        """
        target = f"{self._prefix}/v1/{path}"
        if query:
            target += "?" + urlencode(query, quote_via=quote, errors="surrogateescape")
        block = self._plain + (header_block(headers) if headers else b"")
        response = self._transport.open(Request(method, target, block, body, silence))
        if response.status not in expect:
            content = response.read(_ERROR_LIMIT)
            raise from_agent(response.status, content, self.sandbox_id, about)
        return response

    def rest(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Query = (),
        message: object = None,
        about: str | None = None,
        silence: float | None = 300.0,
        limit: int = 64 * 1024 * 1024,
    ) -> T:
        """A call to one of Wardian's own services that answers JSON, or nothing.

        Args:
            method: The HTTP method.
            path: Below `/v1/`, its parts percent-encoded.
            kind: What the answer is decoded to; `type(None)` for an answer without a body.
            query: Names and values.
            message: What to send, as JSON; None sends nothing.
            about: The file it is about, for errors.
            silence: Seconds to wait for the answer; None waits for ever.
            limit: Bytes the answer may have.
        """
        body = None if message is None else msgspec.json.encode(message)
        headers = None if message is None else {"Content-Type": "application/json"}
        response = self.open(
            method,
            path,
            query=query,
            headers=headers,
            body=body,
            about=about,
            silence=silence,
            expect=(200, 201, 204),
        )
        content = response.read(limit)
        return self._decode(content or b"null", kind)

    def events(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        message: object = None,
        about: str | None = None,
    ) -> Events:
        """A call to one of Wardian's own services that answers a stream of events.

        Args:
            method: The HTTP method.
            path: Below `/v1/`, its parts percent-encoded.
            query: Names and values.
            message: What to send, as JSON; None sends nothing.
            about: The file it is about, for errors.
        """
        headers = {"Accept": "text/event-stream"}
        body = None if message is None else msgspec.json.encode(message)
        if message is not None:
            headers["Content-Type"] = "application/json"
        response = self.open(
            method,
            path,
            query=query,
            headers=headers,
            body=body,
            about=about,
            silence=_EVENT_SILENCE,
        )
        return Events(response, self.sandbox_id)

    def websocket(self, path: str, *, query: Query = ()) -> WebSocket:
        """Open a WebSocket to one of Wardian's own services.

        Args:
            path: Below `/v1/`, its parts percent-encoded.
            query: Names and values.
        """
        target = f"{self._prefix}/v1/{path}"
        if query:
            target += "?" + urlencode(query, quote_via=quote)
        key = new_key()
        block = self._plain + header_block(
            {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": key,
            }
        )
        response = self._transport.open(Request("GET", target, block, switch=True))
        if response.status != 101:
            content = response.read(_ERROR_LIMIT)
            raise from_agent(response.status, content, self.sandbox_id)
        if response.headers.get("sec-websocket-accept") != accept_for(key):
            response.close()
            raise ProtocolError(f"sandbox {self.sandbox_id} answered no WebSocket handshake")
        return WebSocket(response.detach(), _EVENT_SILENCE)

    def failure(self, error: RpcError) -> SandboxError:
        """The exception for what a stream's end reported."""
        return from_rpc(error.code, error.message, self.sandbox_id)

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            # Connect writes 64-bit numbers as strings; lax decoding takes both.
            return msgspec.json.decode(body, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(
                f"sandbox {self.sandbox_id} answered with something unexpected: {error}"
            ) from error


def _receive(response: Response, sandbox_id: str) -> memoryview:
    try:
        return response.receive()
    except RequestTimeout:
        raise
    except (WardianError, OSError) as error:
        raise _cut_off(response, sandbox_id) from error


def _cut_off(response: Response, sandbox_id: str) -> SandboxError:
    response.close()
    return SandboxGone(
        f"the stream from sandbox {sandbox_id} was cut off",
        sandbox_id=sandbox_id,
        hint="the sandbox may have ended; its reason is in Sandbox.info()",
    )


def _user_header(user: str | None) -> bytes:
    if user is None:
        return b""
    return b"Authorization: Basic " + base64.b64encode(f"{user}:".encode()) + b"\r\n"
