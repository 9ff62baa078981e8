"""Ids and tokens of sandboxes, and which of two things a caller's reference is."""

from __future__ import annotations

import re
import secrets

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
LENGTH = 20
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$(?!\n)"

_ID = re.compile(rf"[a-z2-7]{{{LENGTH}}}")
_NAME = re.compile(NAME_PATTERN)


def new_sandbox_id() -> str:
    """A fresh id: 100 random bits, so never one that was used before."""
    number = secrets.randbits(5 * LENGTH)
    return "".join(ALPHABET[(number >> (5 * place)) & 31] for place in range(LENGTH))


def new_token() -> str:
    """A fresh secret of 160 bits, as 40 hexadecimal digits."""
    return secrets.token_hex(20)


def is_sandbox_id(text: str) -> bool:
    """Whether ``text`` has the form of an id."""
    return _ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether ``text`` may name a sandbox: the form of a name, and not that of an id."""
    return _NAME.match(text) is not None and not is_sandbox_id(text)
