"""The examples both languages read, read by Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wardian.server.node import edge_messages, protocol

VECTORS = Path(__file__).parents[2] / "vectors"
DECODERS: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    "request": ("launcher.json", protocol.decode_request),
    "reply": ("launcher.json", protocol.decode_reply),
    "event": ("launcher.json", protocol.decode_event),
    "to_edge": ("edge.json", edge_messages.decode_to_edge),
    "from_edge": ("edge.json", edge_messages.decode_from_edge),
}


def examples(kind: str, prefix: str = "") -> list[Any]:
    found = json.loads((VECTORS / DECODERS[kind][0]).read_text())[prefix + kind]
    assert found
    return found


@pytest.mark.parametrize("kind", DECODERS)
def test_messages_are_as_the_examples_say(kind: str) -> None:
    for example in examples(kind):
        message = DECODERS[kind][1](json.dumps(example).encode())
        assert json.loads(msgspec.json.encode(message)) == example


@pytest.mark.parametrize("kind", DECODERS)
def test_what_must_be_refused_is(kind: str) -> None:
    for example in examples(kind, "refused_"):
        with pytest.raises(msgspec.ValidationError):
            DECODERS[kind][1](json.dumps(example).encode())


def test_a_frame_that_promises_too_much_is_refused() -> None:
    with pytest.raises(protocol.FrameTooLong):
        protocol.body_length(b"\xff\xff\xff\xff")
    with pytest.raises(protocol.FrameTooLong):
        protocol.encode_frame(protocol.Failure("kernel", "x" * protocol.MAX_BODY))
