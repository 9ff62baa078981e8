"""Secrets of the server that WARDIAN_URL names: `from wardian import secrets`.

>>> from wardian import secrets
>>> secrets.set("GITHUB", token, hosts="api.github.com")  # doctest: +SKIP

`wardian.Secrets` and `wardian.AsyncSecrets` are the same for any server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import SecretInfo


def set(name: str, value: str, *, hosts: str | Iterable[str] | None = None) -> SecretInfo:
    """Set a secret; see `Secrets.set`."""
    from . import Secrets

    return Secrets().set(name, value, hosts=hosts)


def list() -> Sequence[SecretInfo]:
    """What there are, by name; never their values."""
    from . import Secrets

    return Secrets().list()


def delete(name: str) -> None:
    """Forget a secret; see `Secrets.delete`."""
    from . import Secrets

    Secrets().delete(name)


def rotate_key() -> int:
    """Seal all of them anew under a new key; see `Secrets.rotate_key`."""
    from . import Secrets

    return Secrets().rotate_key()
