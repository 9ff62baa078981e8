# Generated from _async/api.py by tools/generate_sync.py: change it there.
"""Calls to the control plane's native API, `/v1`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from .._body import Body
from .._config import Endpoint, resolve_api_key, resolve_endpoint
from .._errors import ProtocolError
from .._http1 import header_block
from .._models import (
    ApiKey,
    KeyList,
    Limits,
    SandboxInfo,
    SandboxPage,
    Template,
    TemplateList,
    Usage,
)
from .._previews import ExposureInfo, ExposureList, SignedUrl, Ticket
from .._refusals import from_api
from .transport import Request, Response, Transport

T = TypeVar("T")

_ERROR_LIMIT = 256 * 1024
_CREATE_TIMEOUT = 120.0
_transports: dict[Endpoint, Transport] = {}


def transport_to(endpoint: Endpoint) -> Transport:
    """The one transport to a server, so that everything in this process shares its connections."""
    transport = _transports.get(endpoint)
    if transport is None:
        transport = _transports.setdefault(endpoint, Transport(endpoint))
    return transport


class Client:
    """A server's native API, one method per call.

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

    def create_sandbox(
        self,
        template: str = "base",
        *,
        name: str | None = None,
        isolation: str | None = None,
        timeout: float | None = 300,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        user: str | None = None,
        workdir: str | None = None,
        traffic: str | None = None,
        idempotency_key: str | None = None,
    ) -> SandboxInfo:
        """POST /v1/sandboxes. The arguments are those of `Sandbox.create`."""
        body: dict[str, Any] = {"template": template, "timeout": _seconds(timeout)}
        optional = {
            "name": name,
            "class": isolation,
            "env": dict(env) if env else None,
            "labels": dict(labels) if labels else None,
            "limits": limits,
            "user": user,
            "workdir": workdir,
            "traffic": traffic,
        }
        body.update((key, value) for key, value in optional.items() if value is not None)
        # With a key, a create whose answer was lost can be asked for again without making two.
        key = idempotency_key or secrets.token_hex(16)
        return self._call(
            "POST",
            "/v1/sandboxes",
            SandboxInfo,
            json=body,
            headers={"Idempotency-Key": key},
            timeout=_CREATE_TIMEOUT,
            safe=True,
        )

    def get_sandbox(self, sandbox: str) -> SandboxInfo:
        """GET /v1/sandboxes/{id or name}."""
        return self._call("GET", _path("sandboxes", sandbox), SandboxInfo)

    def list_sandboxes(
        self,
        *,
        state: str | Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        template: str | None = None,
        name: str | None = None,
        page_size: int = 50,
    ) -> Iterator[SandboxInfo]:
        """GET /v1/sandboxes, page after page as they are needed."""
        states = [state] if isinstance(state, str) else list(state or ())
        query: list[tuple[str, str]] = [("state", each) for each in states]
        query += [("label", f"{key}={value}") for key, value in (labels or {}).items()]
        query += [("template", template)] if template is not None else []
        query += [("name", name)] if name is not None else []
        query.append(("limit", str(page_size)))
        cursor: str | None = None
        while True:
            page_query = [*query, ("cursor", cursor)] if cursor else query
            page = self._call("GET", "/v1/sandboxes", SandboxPage, query=page_query)
            yield from page.sandboxes
            if not page.next_cursor or page.next_cursor == cursor:
                return
            cursor = page.next_cursor

    def update_sandbox(self, sandbox: str, changes: Mapping[str, Any]) -> SandboxInfo:
        """PATCH /v1/sandboxes/{id or name}: `labels`, `timeout`, `name`, `env`."""
        return self._call("PATCH", _path("sandboxes", sandbox), SandboxInfo, json=changes)

    def kill_sandbox(self, sandbox: str) -> SandboxInfo:
        """DELETE /v1/sandboxes/{id or name}; ending an ended one is no error."""
        return self._call("DELETE", _path("sandboxes", sandbox), SandboxInfo, safe=True)

    def sandbox_usage(self, sandbox: str) -> Usage:
        """GET /v1/sandboxes/{id or name}/usage."""
        return self._call("GET", f"{_path('sandboxes', sandbox)}/usage", Usage)

    def create_ticket(
        self, sandbox: str, service: str, path: str = "", expires_in: float = 3600
    ) -> Ticket:
        """POST /v1/sandboxes/{id or name}/tickets."""
        message = {"service": service, "path": path, "expires_in": _seconds(expires_in)}
        return self._call("POST", f"{_path('sandboxes', sandbox)}/tickets", Ticket, json=message)

    def create_exposure(
        self,
        sandbox: str,
        port: int,
        *,
        name: str | None = None,
        token: str = "auto",
        visibility: str = "private",
        host_header: str = "preserve",
    ) -> ExposureInfo:
        """POST /v1/sandboxes/{id or name}/exposures."""
        message = {
            "port": port,
            "name": name,
            "token": token,
            "visibility": visibility,
            "host_header": host_header,
        }
        where = f"{_path('sandboxes', sandbox)}/exposures"
        return self._call("POST", where, ExposureInfo, json=message, safe=True)

    def list_exposures(self, sandbox: str) -> Sequence[ExposureInfo]:
        """GET /v1/sandboxes/{id or name}/exposures."""
        where = f"{_path('sandboxes', sandbox)}/exposures"
        return (self._call("GET", where, ExposureList)).exposures

    def delete_exposure(self, sandbox: str, port: int) -> None:
        """DELETE /v1/sandboxes/{id or name}/exposures/{port}."""
        where = f"{_path('sandboxes', sandbox)}/exposures/{int(port)}"
        self._send("DELETE", where, safe=True)

    def sign_exposure(self, sandbox: str, port: int, expires_in: float = 3600) -> SignedUrl:
        """POST /v1/sandboxes/{id or name}/exposures/{port}/tickets."""
        where = f"{_path('sandboxes', sandbox)}/exposures/{int(port)}/tickets"
        message = {"expires_in": _seconds(expires_in)}
        return self._call("POST", where, SignedUrl, json=message, safe=True)

    def list_templates(self) -> Sequence[Template]:
        """GET /v1/templates."""
        return (self._call("GET", "/v1/templates", TemplateList)).templates

    def get_template(self, name: str) -> Template:
        """GET /v1/templates/{name}."""
        return self._call("GET", _path("templates", name), Template)

    def delete_template(self, name: str) -> None:
        """DELETE /v1/templates/{name}."""
        self._send("DELETE", _path("templates", name), safe=True)

    def put_template(
        self,
        name: str,
        body: Body,
        *,
        media_type: str = "application/x-tar",
        encoding: str | None = None,
        query: Iterable[tuple[str, str]] = (),
    ) -> Template:
        """PUT /v1/templates/{name}: make a template from a layer or an OCI layout.

        Args:
            name: The template's name.
            body: The tar.
            media_type: `application/x-tar` or `application/vnd.oci.image.layout.v1+tar`.
            encoding: `zstd` or `gzip` where the tar is compressed.
            query: Defaults: `user`, `workdir`, `env` (repeatable, `K=V`), `start_command`.
        """
        headers = {"Content-Type": media_type}
        if encoding:
            headers["Content-Encoding"] = encoding
        return self._call(
            "PUT",
            _path("templates", name),
            Template,
            query=query,
            headers=headers,
            body=body,
            timeout=600.0,
        )

    def pull_template(
        self,
        name: str,
        reference: str,
        *,
        username: str | None = None,
        password: str | None = None,
        plain_http: bool = False,
    ) -> Response:
        """POST /v1/templates/{name}/pull: the response is a stream of server-sent events."""
        message = {"reference": reference, "plain_http": plain_http}
        credentials = {"username": username, "password": password}
        message.update((key, value) for key, value in credentials.items() if value is not None)
        request = self._request(
            "POST", f"{_path('templates', name)}/pull", json=message, timeout=600.0
        )
        response = self.transport.open(request)
        if response.status != 200:
            body = response.read(_ERROR_LIMIT)
            raise from_api(response.status, body, "POST pull")
        return response

    def create_key(self, name: str, scopes: Sequence[str] | None = None) -> ApiKey:
        """POST /v1/keys: the answer holds the key itself, this once."""
        message: dict[str, Any] = {"name": name}
        if scopes is not None:
            message["scopes"] = list(scopes)
        return self._call("POST", "/v1/keys", ApiKey, json=message)

    def list_keys(self) -> Sequence[ApiKey]:
        """GET /v1/keys."""
        return (self._call("GET", "/v1/keys", KeyList)).keys

    def delete_key(self, key_id: str) -> None:
        """DELETE /v1/keys/{id}."""
        self._send("DELETE", _path("keys", key_id), safe=True)

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

    def _send(
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
        reply = self.transport.fetch(request)
        if not 200 <= reply.status < 300:
            raise from_api(reply.status, reply.body, f"{method} {path}")
        return reply.body

    def _call(
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
        content = self._send(
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


def _path(collection: str, name: str) -> str:
    if not name:
        raise ValueError(f"an empty name is none of the {collection}")
    return f"/v1/{collection}/{quote(name, safe='')}"


def _seconds(timeout: float | None) -> float | int | None:
    """Whole numbers stay whole on the wire."""
    return int(timeout) if timeout is not None and timeout == int(timeout) else timeout
