"""Questions to a resolver (RFC 1035), well-formed and not."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

A: Final = 1
NO_ERROR, FORMAT_ERROR, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = 0, 1, 3, 4, 5


def wire(*labels: bytes) -> bytes:
    """A name of these labels, whatever bytes they hold."""
    return b"".join(bytes([len(each)]) + each for each in labels) + b"\0"


def name(text: str) -> bytes:
    """A name as one writes it."""
    return wire(*[label.encode("latin-1") for label in text.split(".")])


def question(
    asked: bytes, kind: int = A, *, flags: int = 0x0100, class_: int = 1, more: bytes = b"",
    counts: tuple[int, int, int, int] = (1, 0, 0, 0),
) -> bytes:  # fmt: skip
    """A message that asks."""
    return (
        struct.pack("!HHHHHH", 7, flags, *counts) + asked + struct.pack("!HH", kind, class_) + more
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    code: int
    addresses: list[str]


def read(message: bytes) -> Reply:
    """The code and the addresses in an answer."""
    _, flags, _, answers, *_ = struct.unpack_from("!HHHHHH", message)
    at, found = 12, list[str]()
    while message[at]:
        at += 1 + message[at]
    at += 5
    for _ in range(answers):
        while message[at] and message[at] < 0xC0:
            at += 1 + message[at]
        at += 2 if message[at] >= 0xC0 else 1
        kind, _, _, length = struct.unpack_from("!HHIH", message, at)
        at += 10
        if kind == A:
            found.append(".".join(map(str, message[at : at + 4])))
        at += length
    return Reply(flags & 15, found)
