"""Strings of injections: ``{NAME}`` stands for a secret, ``{{`` and ``}}`` for braces."""

from __future__ import annotations

import re
from collections.abc import Mapping

NAME_PATTERN = r"^[A-Z][A-Z0-9_]{0,63}$(?!\n)"

_PIECE = re.compile(r"\{\{|\}\}|\{([A-Z][A-Z0-9_]{0,63})\}|([{}])")


def names(text: str) -> list[str]:
    """The secrets a string names, each once, in order.

    Raises:
        ValueError: a brace that belongs to nothing.
    """
    found: dict[str, None] = {}
    for match in _PIECE.finditer(text):
        if match[2]:
            # Without the text itself: it may hold what should have been a secret.
            raise ValueError(
                f"the brace at character {match.start() + 1} names no secret: {{NAME}} stands for"
                " one (A-Z, 0-9 and _), {{ and }} for braces"
            )
        if match[1]:
            found[match[1]] = None
    return list(found)


def render(text: str, values: Mapping[str, str]) -> str:
    """The string with each secret's value in its place.

    Raises:
        KeyError: a secret has no value.
    """

    def piece(match: re.Match[str]) -> str:
        if match[1]:
            return values[match[1]]
        return match[0][0]

    return _PIECE.sub(piece, text)
