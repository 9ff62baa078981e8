"""Calls to the control plane: their headers, their JSON, their refusals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from .._body import Body
from .._config import Endpoint, resolve_api_key, resolve_endpoint
from .._errors import ProtocolError
from .._http1 import header_block
from .._refusals import from_api
from .transport import AsyncResponse, AsyncTransport, Request

T = TypeVar("T")

_ERROR_LIMIT = 256 * 1024
_transports: dict[Endpoint, AsyncTransport] = {}


def transport_to(endpoint: Endpoint) -> AsyncTransport:
    """The one transport to a server, so that everything in this process shares its connections."""
    transport = _transports.get(endpoint)
    if transport is None:
        transport = _transports.setdefault(endpoint, AsyncTransport(endpoint))
    return transport


class AsyncCalls:
    """What every group of calls is made with.

    Args:
        url: The server; None takes WARDIAN_URL, else http://127.0.0.1:7300.
        api_key: The key; None takes WARDIAN_API_KEY, else a key file.

    Raises:
        ConfigurationError: No key was found, or the URL is none.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None) -> None:
        self.endpoint = resolve_endpoint(url)
        self.transport = transport_to(self.endpoint)
        self._headers = header_block(
            {
                "Host": self.endpoint.authority,
                "Authorization": f"Bearer {resolve_api_key(api_key)}",
                "User-Agent": "wardian-python",
                "Accept-Encoding": "identity",
            }
        )

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        json: object = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        safe: bool = False,
    ) -> Request:
        block = self._headers
        if json is not None:
            body = msgspec.json.encode(json)
            block += b"Content-Type: application/json\r\n"
        if headers:
            block += header_block(dict(headers))
        pairs = list(query)
        target = f"{self.endpoint.prefix}{path}" + (f"?{urlencode(pairs)}" if pairs else "")
        return Request(method, target, block, body, timeout, safe or method == "GET")

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        json: object = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        safe: bool = False,
    ) -> bytes:
        request = self._request(
            method,
            path,
            query=query,
            json=json,
            body=body,
            headers=headers,
            timeout=timeout,
            safe=safe,
        )
        reply = await self.transport.fetch(request)
        if not 200 <= reply.status < 300:
            raise from_api(reply.status, reply.body, f"{method} {path}")
        return reply.body

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Iterable[tuple[str, str]] = (),
        json: object = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        safe: bool = False,
    ) -> T:
        content = await self._send(
            method,
            path,
            query=query,
            json=json,
            body=body,
            headers=headers,
            timeout=timeout,
            safe=safe,
        )
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(
                f"{method} {path}: the answer is not what it should be: {error}",
                hint="is WARDIAN_URL the address of a Wardian server?",
            ) from error

    async def _open(self, request: Request, what: str) -> AsyncResponse:
        """An answer that is read as it comes; anything but 200 is an error."""
        response = await self.transport.open(request)
        if response.status != 200:
            body = await response.read(_ERROR_LIMIT)
            raise from_api(response.status, body, what)
        return response


def api_path(collection: str, name: str) -> str:
    """The path of one thing.

    Raises:
        ValueError: The name is empty.
    """
    if not name:
        raise ValueError(f"an empty name is none of the {collection}")
    return f"/v1/{collection}/{quote(name, safe='')}"


def whole_seconds(timeout: float | None) -> float | int | None:
    """Whole numbers stay whole on the wire."""
    return int(timeout) if timeout is not None and timeout == int(timeout) else timeout
