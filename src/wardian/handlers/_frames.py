"""Frames between edge and handlers; the other writing of the same is
``crates/wire/src/egress/handler_frame.rs``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

MAX_PAYLOAD = 1024 * 1024
MAX_HEAD = 256 * 1024
HEADER = 5
FIRST_CREDIT = 262_144

U16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
# msgspec has no larger bound than that of a signed number; what is above it is refused by the edge.
Length = Annotated[int, Meta(ge=0)]
HeaderList = list[tuple[str, str]]


class Kind(IntEnum):
    """What a frame is; its byte."""

    REQUEST = ord("R")
    REQUEST_BODY = ord("b")
    REQUEST_END = ord("e")
    FORWARD = ord("F")
    FORWARD_BODY = ord("c")
    FORWARD_END = ord("d")
    RESPONSE = ord("S")
    RESPONSE_BODY = ord("s")
    RESPONSE_END = ord("t")
    ANSWER = ord("A")
    ANSWER_BODY = ord("a")
    ANSWER_END = ord("z")
    FAILURE = ord("X")
    CREDIT = ord("K")


_KINDS = {int(kind): kind for kind in Kind}
BODIES = frozenset({Kind.REQUEST_BODY, Kind.FORWARD_BODY, Kind.RESPONSE_BODY, Kind.ANSWER_BODY})


class FrameError(Exception):
    """The peer does not speak this protocol; the connection can't be read on."""


class _Head(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class SandboxFacts(_Head, frozen=True):
    """What a handler is told of the sandbox."""

    id: str
    name: str | None
    tenant: str | None
    labels: dict[str, str]


class RequestHead(_Head, frozen=True):
    """A request that a rule gives to a handler."""

    handler: str
    parameters: dict[str, Any]
    timeout_ms: U32
    sandbox: SandboxFacts
    method: str
    url: str
    version: str
    headers: HeaderList
    body: bool


class ForwardHead(_Head, frozen=True):
    """What to send on in the request's place."""

    method: str
    url: str
    headers: HeaderList
    body: Literal["original", "stream", "none"]
    length: Length | None
    response: Literal["passthrough", "stream"]


class ResponseHead(_Head, frozen=True):
    """A response to the handler, or its answer to the sandbox."""

    status: U16
    headers: HeaderList
    length: Length | None


class Failure(_Head, frozen=True):
    """Why there is nothing more."""

    reason: str


_encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(RequestHead).decode
decode_forward = msgspec.json.Decoder(ForwardHead).decode
decode_response = msgspec.json.Decoder(ResponseHead).decode
decode_failure = msgspec.json.Decoder(Failure).decode


def read_header(header: bytes | bytearray | memoryview) -> tuple[Kind, int]:
    """Reads the five bytes in front of a payload: its kind and length.

    Raises:
        FrameError: no such kind, or longer than that kind may be.
    """
    kind = _KINDS.get(header[4])
    if kind is None:
        raise FrameError(f"no kind of frame is {header[4]:#04x}")
    length = int.from_bytes(header[:4], "big")
    if length > _limit(kind):
        raise FrameError(f"a frame of {length} bytes is longer than its kind may be")
    return kind, length


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """Writes a frame.

    Raises:
        FrameError: the payload is longer than its kind may have.
    """
    if len(payload) > _limit(kind):
        raise FrameError(f"a payload of {len(payload)} bytes is longer than its kind may be")
    return len(payload).to_bytes(4, "big") + bytes((kind,)) + payload


def head_frame(kind: Kind, head: Struct) -> bytes:
    """Writes a frame whose payload is ``head``; raises as :func:`frame` does."""
    return frame(kind, _encode(head))


def credit_frame(body: Kind, count: int) -> bytes:
    """Says that ``count`` more bytes of the body of ``body`` frames may come."""
    return frame(Kind.CREDIT, bytes((body,)) + count.to_bytes(4, "big"))


def read_credit(payload: bytes) -> tuple[Kind, int]:
    """Reads the payload of a credit: the body's kind and the count of bytes.

    Raises:
        FrameError: it is none.
    """
    kind = _KINDS.get(payload[0]) if len(payload) == 5 else None
    if kind is None or kind not in BODIES:
        raise FrameError("no credit")
    return kind, int.from_bytes(payload[1:], "big")


def _limit(kind: Kind) -> int:
    if kind in BODIES:
        return MAX_PAYLOAD
    return 5 if kind is Kind.CREDIT else MAX_HEAD
