# Generated from _async/secret_calls.py by tools/generate_sync.py: change it there.
"""The native API's calls about secrets, and what sandboxes hold in their place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .._credentials import secret_name
from .._egress_answers import PlaceholderReply, Resealed, SecretInfo, SecretList
from .calls import Calls, api_path


class SecretCalls(Calls):
    """One method per call."""

    def set_secret(
        self, name: str, value: str, hosts: str | Iterable[str] | None = None
    ) -> SecretInfo:
        """PUT /v1/secrets/{NAME}. The arguments are those of `Secrets.set`."""
        message: dict[str, Any] = {"value": value}
        if hosts is not None:
            message["hosts"] = [hosts] if isinstance(hosts, str) else list(hosts)
        where = api_path("secrets", secret_name(name))
        return self._call("PUT", where, SecretInfo, json=message, safe=True)

    def list_secrets(self) -> Sequence[SecretInfo]:
        """GET /v1/secrets."""
        return (self._call("GET", "/v1/secrets", SecretList)).secrets

    def delete_secret(self, name: str) -> None:
        """DELETE /v1/secrets/{NAME}."""
        self._send("DELETE", api_path("secrets", secret_name(name)), safe=True)

    def rotate_secrets_key(self) -> int:
        """POST /v1/secrets/rotate-key; how many things are sealed under the new key."""
        reply = self._call("POST", "/v1/secrets/rotate-key", Resealed, timeout=300.0)
        return reply.secrets

    def placeholder(self, sandbox: str, name: str) -> str:
        """POST /v1/sandboxes/{id or name}/placeholders: what it holds in place of a secret."""
        where = f"{api_path('sandboxes', sandbox)}/placeholders"
        reply = self._call("POST", where, PlaceholderReply, json={"secret": name}, safe=True)
        return reply.placeholder
