"""What an API key is and may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Scope = Literal["admin", "sandboxes", "templates", "secrets", "read"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its text, which nobody keeps.

    Args:
        scopes: what it may do; ``admin`` includes all.
        hash: SHA-256 of the text, hexadecimal.
        created_at: milliseconds since the epoch, UTC.
    """

    id: str
    tenant: str
    name: str
    scopes: frozenset[str]
    hash: str = field(repr=False)
    created_at: int

    def may(self, *scopes: Scope) -> bool:
        """Whether it has one of ``scopes``."""
        return "admin" in self.scopes or not self.scopes.isdisjoint(scopes)
