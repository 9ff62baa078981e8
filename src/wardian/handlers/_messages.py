"""What a handler gets and gives: requests, responses, and who asks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from wardian.handlers._headers import Headers

Body = bytes | str | AsyncIterable[bytes] | None
HeaderLines = Headers | Mapping[str, str] | Iterable[tuple[str, str]]


# The most of a body that is held unless a handler says otherwise, in bytes.
MOST_HELD = 16 * 1024 * 1024


class UpstreamFailed(Exception):
    """The request was sent on and no response came, or not to its end."""


class BodyTooLong(ValueError):
    """A body is longer than was to be held. Nothing can be done with it any more."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Who asks. ``tenant`` is ``None`` on a node without tenants."""

    id: str
    name: str | None
    tenant: str | None
    labels: Mapping[str, str]


class _Message:
    """Headers and a body that is read once, as it comes."""

    def __init__(self, headers: HeaderLines, body: Body) -> None:
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self._body: Body = body

    async def body(self, limit: int = MOST_HELD) -> bytes:
        """The whole body; it is kept, so that it can be read again and is sent on as well.

        Args:
            limit: how much of it is held, in bytes.

        Raises:
            BodyTooLong: there is more. A handler that does not catch it refuses a request (413).
        """
        if isinstance(self._body, str):
            self._body = self._body.encode()
        elif self._body is None:
            self._body = b""
        elif not isinstance(self._body, bytes):
            whole = bytearray()
            async for chunk in self._body:
                if len(whole) + len(chunk) > limit:
                    raise BodyTooLong(f"a body has more than {limit} bytes")
                whole += chunk
            self._body = bytes(whole)
        return self._body

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive; it can be read once."""
        if self._body is None or isinstance(self._body, (bytes, str)):
            whole = await self.body()
            if whole:
                yield whole
            return
        async for chunk in self._body:
            yield chunk

    async def json(self, limit: int = MOST_HELD) -> Any:
        """The whole body as JSON.

        Raises:
            ValueError: it is none.
            BodyTooLong: as :meth:`body` does.
        """
        return json.loads(await self.body(limit))

    def content(self) -> Body:
        """The body as it is now, read or not."""
        return self._body


class Response(_Message):
    """An answer: one of the handler's own, or what :meth:`Request.send` brought.

    Args:
        status: 200 to 599.
        headers: lines beside ``Content-Length``, which is the edge's.
        body: bytes, text, or an async iterator whose pieces go out as they come.
        json: a value sent as JSON, instead of ``body``.

    Raises:
        ValueError: no such status, a header that can't be, both ``body`` and ``json``.
    """

    def __init__(
        self,
        status: int = 200,
        headers: HeaderLines = (),
        body: Body = None,
        *,
        json: Any = None,
    ) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"a response has a status from 200 to 599, not {status}")
        if json is not None:
            if body is not None:
                raise ValueError("a response has body or json, not both")
            body = _json_bytes(json)
        super().__init__(headers, body)
        if json is not None:
            self.headers.setdefault("Content-Type", "application/json")
        self.status = status

    def replace(
        self,
        *,
        status: int | None = None,
        headers: HeaderLines | None = None,
        body: Body = None,
    ) -> Response:
        """The same with other status, headers or body; ``None`` leaves each as it is."""
        return Response(
            self.status if status is None else status,
            self.headers if headers is None else headers,
            self._body if body is None else body,
        )

    def __repr__(self) -> str:
        return f"Response({self.status})"


Sender = Callable[["Request"], Awaitable[Response]]


class Request(_Message):
    """What a sandbox asks of the outside. ``method``, ``url`` and ``headers`` can be changed;
    the url keeps its scheme, host and port. Credentials of the rule are put in afterwards.
    """

    def __init__(
        self,
        method: str,
        url: str,
        headers: HeaderLines = (),
        body: Body = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        sender: Sender | None = None,
    ) -> None:
        super().__init__(headers, body)
        self.method = method
        self.parameters: Mapping[str, Any] = parameters or {}
        self._url = url
        self._sender = sender

    @property
    def url(self) -> str:
        """Absolute, with the query."""
        return self._url

    @url.setter
    def url(self, url: str) -> None:
        if _origin(url) != _origin(self._url):
            raise ValueError("a handler can change path and query, not scheme, host or port")
        self._url = url

    def replace(
        self,
        *,
        method: str | None = None,
        url: str | None = None,
        headers: HeaderLines | None = None,
        body: Body = None,
    ) -> Request:
        """The same with other method, url, headers or body; ``None`` leaves each as it is."""
        changed = Request(
            self.method if method is None else method,
            self._url,
            self.headers if headers is None else headers,
            self._body if body is None else body,
            parameters=self.parameters,
            sender=self._sender,
        )
        if url is not None:
            changed.url = url
        return changed

    async def send(self) -> Response:
        """Sends it on, once, and returns the response as soon as its head is there.

        Raises:
            UpstreamFailed: none came.
            RuntimeError: it has been sent already, or came from no sandbox.
        """
        if self._sender is None:
            raise RuntimeError("only a request that came from a sandbox can be sent on")
        return await self._sender(self)

    def __repr__(self) -> str:
        return f"Request({self.method})"


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
