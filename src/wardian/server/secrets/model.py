"""What a secret is."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_BYTES = 64 * 1024
MOST_PER_TENANT = 1024


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential that never enters a sandbox.

    Args:
        tenant: whose it is.
        name: what rules call it.
        value: what is put in; shown nowhere.
        hosts: patterns of the only hosts it may be sent to; empty: any that a rule names.
        created_at: milliseconds since the epoch, UTC.
        updated_at: when it was set last.
    """

    tenant: str
    name: str
    value: str = field(repr=False)
    hosts: tuple[str, ...]
    created_at: int
    updated_at: int
