# Generated from _async/api.py by tools/generate_sync.py: change it there.
"""The control plane's native API, `/v1`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._body import Body
from .._credentials import Secret, environment_message
from .._egress import Egress, egress_message
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
from .calls import api_path, whole_seconds
from .egress_calls import EgressCalls
from .secret_calls import SecretCalls
from .transport import Response

_CREATE_TIMEOUT = 120.0


class Client(EgressCalls, SecretCalls):
    """A server's native API, one method per call.

    Args:
        url: The server; None takes WARDIAN_URL, else http://127.0.0.1:7300.
        api_key: The key; None takes WARDIAN_API_KEY, else a key file.

    Raises:
        ConfigurationError: No key was found, or the URL is none.
    """

    def create_sandbox(
        self,
        template: str = "base",
        *,
        name: str | None = None,
        isolation: str | None = None,
        timeout: float | None = 300,
        env: Mapping[str, str | Secret] | None = None,
        labels: Mapping[str, str] | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        user: str | None = None,
        workdir: str | None = None,
        traffic: str | None = None,
        egress: str | Egress | None = None,
        idempotency_key: str | None = None,
    ) -> SandboxInfo:
        """POST /v1/sandboxes. The arguments are those of `Sandbox.create`."""
        body: dict[str, Any] = {"template": template, "timeout": whole_seconds(timeout)}
        optional = {
            "name": name,
            "class": isolation,
            "env": environment_message(env) if env else None,
            "labels": dict(labels) if labels else None,
            "limits": limits,
            "user": user,
            "workdir": workdir,
            "traffic": traffic,
            "egress": egress_message(egress) if egress is not None else None,
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
        return self._call("GET", api_path("sandboxes", sandbox), SandboxInfo)

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
        if "env" in changes:
            changes = {**changes, "env": environment_message(changes["env"])}
        return self._call("PATCH", api_path("sandboxes", sandbox), SandboxInfo, json=changes)

    def kill_sandbox(self, sandbox: str) -> SandboxInfo:
        """DELETE /v1/sandboxes/{id or name}; ending an ended one is no error."""
        return self._call("DELETE", api_path("sandboxes", sandbox), SandboxInfo, safe=True)

    def sandbox_usage(self, sandbox: str) -> Usage:
        """GET /v1/sandboxes/{id or name}/usage."""
        return self._call("GET", f"{api_path('sandboxes', sandbox)}/usage", Usage)

    def create_ticket(
        self, sandbox: str, service: str, path: str = "", expires_in: float = 3600
    ) -> Ticket:
        """POST /v1/sandboxes/{id or name}/tickets."""
        message = {"service": service, "path": path, "expires_in": whole_seconds(expires_in)}
        return self._call("POST", f"{api_path('sandboxes', sandbox)}/tickets", Ticket, json=message)

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
        where = f"{api_path('sandboxes', sandbox)}/exposures"
        return self._call("POST", where, ExposureInfo, json=message, safe=True)

    def list_exposures(self, sandbox: str) -> Sequence[ExposureInfo]:
        """GET /v1/sandboxes/{id or name}/exposures."""
        where = f"{api_path('sandboxes', sandbox)}/exposures"
        return (self._call("GET", where, ExposureList)).exposures

    def delete_exposure(self, sandbox: str, port: int) -> None:
        """DELETE /v1/sandboxes/{id or name}/exposures/{port}."""
        where = f"{api_path('sandboxes', sandbox)}/exposures/{int(port)}"
        self._send("DELETE", where, safe=True)

    def sign_exposure(self, sandbox: str, port: int, expires_in: float = 3600) -> SignedUrl:
        """POST /v1/sandboxes/{id or name}/exposures/{port}/tickets."""
        where = f"{api_path('sandboxes', sandbox)}/exposures/{int(port)}/tickets"
        message = {"expires_in": whole_seconds(expires_in)}
        return self._call("POST", where, SignedUrl, json=message, safe=True)

    def list_templates(self) -> Sequence[Template]:
        """GET /v1/templates."""
        return (self._call("GET", "/v1/templates", TemplateList)).templates

    def get_template(self, name: str) -> Template:
        """GET /v1/templates/{name}."""
        return self._call("GET", api_path("templates", name), Template)

    def delete_template(self, name: str) -> None:
        """DELETE /v1/templates/{name}."""
        self._send("DELETE", api_path("templates", name), safe=True)

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
            api_path("templates", name),
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
            "POST", f"{api_path('templates', name)}/pull", json=message, timeout=600.0
        )
        return self._open(request, "POST pull")

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
        self._send("DELETE", api_path("keys", key_id), safe=True)
