"""What a sandbox holds in place of a secret."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace

from wardian.server.errors import SecretNotFound
from wardian.server.sandboxes.records import SandboxRecord
from wardian.server.secrets.model import Secret

_RANDOM_BYTES = 16


def new(name: str) -> str:
    """A text unlike any other, that says what it stands for."""
    return f"wardian_{name}_{secrets.token_urlsafe(_RANDOM_BYTES)}"


def added(
    record: SandboxRecord, names: Iterable[str], known: Mapping[str, Secret]
) -> SandboxRecord:
    """The record with a placeholder for each of ``names``; those it has stay.

    Raises:
        SecretNotFound: there is no secret of the name.
    """
    placeholders = dict(record.secrets.placeholders)
    for name in names:
        if name not in known:
            raise SecretNotFound(name)
        if name not in placeholders:
            placeholders[name] = new(name)
    if placeholders == record.secrets.placeholders:
        return record
    return replace(record, secrets=replace(record.secrets, placeholders=placeholders))
