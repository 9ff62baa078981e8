"""Header lines: names without regard to case, several lines of one name, the order kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import cast

# RFC 9110, 5.1 and 5.5: a token, and no control character but the tab.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Headers(MutableMapping[str, str]):
    """Header lines of a request or response.

    As a mapping it shows the first line of each name; setting a name replaces all its lines in
    the place of the first. Values hold characters up to U+00FF, each one byte of the line.

    Args:
        lines: pairs of name and value, or a mapping.

    Raises:
        ValueError: a name or value that no header line can have.
    """

    def __init__(self, lines: Iterable[tuple[str, str]] | Mapping[str, str] = ()) -> None:
        given = cast("Iterable[tuple[str, str]]", getattr(lines, "items", lambda: lines)())
        self._lines = [_checked(name, value) for name, value in given]

    @classmethod
    def received(cls, lines: list[tuple[str, str]]) -> Headers:
        """Takes lines that have been checked already."""
        headers = cls()
        headers._lines = lines
        return headers

    def __getitem__(self, name: str) -> str:
        lower = name.lower()
        for known, value in self._lines:
            if known.lower() == lower:
                return value
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None:
        line = _checked(name, value)
        lower = name.lower()
        place = next((i for i, (k, _) in enumerate(self._lines) if k.lower() == lower), None)
        if place is None:
            self._lines.append(line)
            return
        rest = [pair for pair in self._lines[place + 1 :] if pair[0].lower() != lower]
        self._lines[place:] = [line, *rest]

    def __delitem__(self, name: str) -> None:
        lower = name.lower()
        kept = [pair for pair in self._lines if pair[0].lower() != lower]
        if len(kept) == len(self._lines):
            raise KeyError(name)
        self._lines = kept

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self._lines))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._lines})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(k.lower() == name.lower() for k, _ in self._lines)

    def add(self, name: str, value: str) -> None:
        """Adds a line beside those there are; raises as the class does."""
        self._lines.append(_checked(name, value))

    def get_all(self, name: str) -> list[str]:
        """The values of all lines of this name."""
        return [value for known, value in self._lines if known.lower() == name.lower()]

    def lines(self) -> list[tuple[str, str]]:
        """All lines, in order."""
        return list(self._lines)

    def copy(self) -> Headers:
        """Lines of its own."""
        return Headers.received(list(self._lines))

    def __repr__(self) -> str:
        # Values may be credentials.
        return f"Headers({', '.join(self)})"


def _checked(name: str, value: str) -> tuple[str, str]:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the value of header {name} holds what no header line can")
    return name, value
