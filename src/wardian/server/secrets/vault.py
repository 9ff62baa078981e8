"""The secrets of all tenants, opened: policies are made of them without waiting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from wardian.server.secrets.model import Secret

_NONE: Mapping[str, Secret] = MappingProxyType({})


class Vault:
    """What the database holds; only this process writes there.

    Who looks here and notes what it made of it, without waiting in between, misses no change: a
    change comes here first and then to those who have noted that they use it.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._tenants: dict[str, dict[str, Secret]] = {}
        for secret in secrets:
            self.put(secret)

    def of(self, tenant: str) -> Mapping[str, Secret]:
        """A tenant's secrets by name."""
        return self._tenants.get(tenant, _NONE)

    def put(self, secret: Secret) -> None:
        """Adds one, or replaces that of its name."""
        self._tenants.setdefault(secret.tenant, {})[secret.name] = secret

    def remove(self, tenant: str, name: str) -> Secret | None:
        """Takes one away and returns it."""
        return self._tenants.get(tenant, {}).pop(name, None)
