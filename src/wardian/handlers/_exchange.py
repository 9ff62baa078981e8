"""One request with its handler, from the first frame to the last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable

from wardian.handlers import _frames
from wardian.handlers._bodies import Incoming, Outgoing, Write
from wardian.handlers._declaring import HandlerFunction, Refuse
from wardian.handlers._frames import FIRST_CREDIT, FrameError, Kind
from wardian.handlers._headers import Headers
from wardian.handlers._messages import (
    Body,
    BodyTooLong,
    Request,
    Response,
    Sandbox,
    UpstreamFailed,
)

log = logging.getLogger("wardian.handlers")

FAILED = "the handler failed"


class Exchange:
    """Runs a handler for one request.

    Args:
        head: the request.
        write: sends a frame to the edge.
    """

    def __init__(self, head: _frames.RequestHead, write: Write) -> None:
        self.over = False
        self._head = head
        self._write = write
        self._seconds = head.timeout_ms / 1000
        self._limit: asyncio.Timeout | None = None
        self._request_body = Incoming(Kind.REQUEST_BODY, write, 0, None)
        self._response: asyncio.Future[Response] | None = None
        self._response_body: Incoming | None = None
        self._forward = Outgoing(Kind.FORWARD_BODY, write)
        self._answer = Outgoing(Kind.ANSWER_BODY, write)
        self._sending: list[asyncio.Task[None]] = []
        # Whether it is the handler's turn to say a head.
        self._limited = True
        self._answered = False

    async def run(self, function: HandlerFunction) -> None:
        """Calls the handler and says what it says. Cancelling it ends the exchange unsaid."""
        try:
            async with asyncio.timeout(self._seconds) as limit, asyncio.TaskGroup() as self._tasks:
                self._limit = limit
                await self._converse(function)
                for task in self._sending:
                    task.cancel()
        except TimeoutError:
            self._fail("the handler said nothing in time", None)
        except ExceptionGroup as group:
            self._fail(FAILED, group.exceptions[0])
        except Exception as error:
            self._fail(FAILED, error)

    def refuse(self, reason: str) -> None:
        """Ends it before it began."""
        self._last(_frames.head_frame(Kind.FAILURE, _frames.Failure(reason)))

    def hear(self, kind: Kind, payload: bytes) -> None:
        """Takes a frame of the edge.

        Raises:
            FrameError: the edge may not say that now.
        """
        if kind in (Kind.RESPONSE, Kind.FAILURE) and not self._answered:
            self._limited = True
        self._progress()
        match kind:
            case Kind.REQUEST_BODY:
                self._request_body.feed(payload)
            case Kind.REQUEST_END:
                self._request_body.end()
            case Kind.RESPONSE:
                self._responded(_frames.decode_response(payload))
            case Kind.RESPONSE_BODY if self._response_body is not None:
                self._response_body.feed(payload)
            case Kind.RESPONSE_END if self._response_body is not None:
                self._response_body.end()
            case Kind.FAILURE:
                self._failed_upstream(_frames.decode_failure(payload).reason)
            case Kind.CREDIT:
                body, count = _frames.read_credit(payload)
                if body is Kind.FORWARD_BODY:
                    self._forward.more(count)
                elif body is Kind.ANSWER_BODY:
                    self._answer.more(count)
                else:
                    raise FrameError("credit for its own body")
            case _:
                raise FrameError(f"{kind.name} out of turn")

    async def _converse(self, function: HandlerFunction) -> None:
        head = self._head
        request = Request(
            head.method,
            head.url,
            Headers.received(head.headers),
            self._request_body if head.body else None,
            parameters=head.parameters,
            sender=self._send,
        )
        facts = head.sandbox
        sandbox = Sandbox(facts.id, facts.name, facts.tenant, facts.labels)
        try:
            result = await function(request, sandbox)
        except Refuse as refusal:
            result = _refusal(refusal.status, refusal.message)
        except BodyTooLong as error:
            if self._response is not None:
                raise
            result = _refusal(413, str(error))
        if isinstance(result, Response):
            await self._answer_with(result)
        elif isinstance(result, Request):  # pyright: ignore[reportUnnecessaryIsInstance]
            await self._pass_on(result)
        else:
            raise TypeError(f"a handler returns a request or a response, not {type(result)}")

    async def _pass_on(self, request: Request) -> None:
        if self._response is not None:
            raise RuntimeError("the handler returned a request that has been sent already")
        body = self._forward_head(request, "passthrough")
        if body is not None:
            await self._forward.send(body)
            self._last(_frames.frame(Kind.FORWARD_END))

    async def _send(self, request: Request) -> Response:
        if self._response is not None or self.over:
            raise RuntimeError("a request can be sent once")
        self._response = asyncio.get_running_loop().create_future()
        body = self._forward_head(request, "stream")
        if body is not None:
            self._sending.append(self._tasks.create_task(self._send_body(body)))
        return await self._response

    async def _send_body(self, body: bytes | AsyncIterable[bytes]) -> None:
        await self._forward.send(body)
        self._write(_frames.frame(Kind.FORWARD_END))

    def _forward_head(self, request: Request, response: str) -> bytes | AsyncIterable[bytes] | None:
        """Says what is sent on; returns the body that is to follow."""
        body = _settled(request.content())
        if body is self._request_body and not self._request_body.touched:
            source, length = "original", None
        elif body is None or body == b"":
            source, length = "none", None
        else:
            source, length = "stream", _length(body)
        head = _frames.ForwardHead(
            method=request.method,
            url=request.url,
            headers=request.headers.lines(),
            body=source,
            length=length,
            response="passthrough" if response == "passthrough" else "stream",
        )
        frame = _frames.head_frame(Kind.FORWARD, head)
        self._unlimited()
        if response == "passthrough" and source != "stream":
            self._last(frame)
        else:
            self._write(frame)
        return body if source == "stream" else None

    async def _answer_with(self, response: Response) -> None:
        body = _settled(response.content())
        head = _frames.ResponseHead(response.status, response.headers.lines(), _length(body))
        frame = _frames.head_frame(Kind.ANSWER, head)
        self._answered = True
        self._unlimited()
        self._write(frame)
        if body is not None:
            await self._answer.send(body)
        self._last(_frames.frame(Kind.ANSWER_END))

    def _responded(self, head: _frames.ResponseHead) -> None:
        if self._response is None or self._response_body is not None:
            raise FrameError("a response to nothing")
        self._response_body = Incoming(Kind.RESPONSE_BODY, self._write, FIRST_CREDIT, head.length)
        response = Response(head.status, Headers.received(head.headers), self._response_body)
        if not self._response.done():
            self._response.set_result(response)

    def _failed_upstream(self, reason: str) -> None:
        if self._response_body is not None:
            self._response_body.end(reason)
        elif self._response is not None and not self._response.done():
            self._response.set_exception(UpstreamFailed(reason))

    def _progress(self) -> None:
        """What the edge says gives the handler its time anew."""
        if self._limit is not None and self._limited:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds)

    def _unlimited(self) -> None:
        self._limited = False
        if self._limit is not None:
            self._limit.reschedule(None)

    def _last(self, frame: bytes) -> None:
        # Before it is written: the edge may begin the next exchange at once.
        self.over = True
        self._write(frame)

    def _fail(self, reason: str, error: BaseException | None) -> None:
        # What the exception says may hold a secret: it is for the operator alone.
        extra = {"handler": self._head.handler, "sandbox": self._head.sandbox.id}
        log.error(reason, extra=extra, exc_info=error)
        if not self.over:
            self._last(_frames.head_frame(Kind.FAILURE, _frames.Failure(reason)))


def _refusal(status: int, message: str) -> Response:
    error = {"code": "egress_denied", "message": message}
    return Response(status, {"Wardian-Egress": "denied"}, json={"error": error})


def _settled(body: Body) -> bytes | AsyncIterable[bytes] | None:
    return body.encode() if isinstance(body, str) else body


def _length(body: bytes | AsyncIterable[bytes] | None) -> int | None:
    if body is None:
        return 0
    if isinstance(body, bytes):
        return len(body)
    return body.length if isinstance(body, Incoming) else None
