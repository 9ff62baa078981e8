"""Frames and header lines, and the examples that both languages read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.handlers import Headers
from wardian.handlers import _frames as frames

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/handlers.json").read_text())
DECODERS: dict[str, Callable[[bytes], Any]] = {
    "request": frames.decode_request,
    "forward": frames.decode_forward,
    "response": frames.decode_response,
    "failure": frames.decode_failure,
}


@pytest.mark.parametrize("kind", DECODERS)
def test_heads_are_as_the_examples_say(kind: str) -> None:
    assert VECTORS[kind] and VECTORS[f"refused_{kind}"]
    for example in VECTORS[kind]:
        head = DECODERS[kind](json.dumps(example).encode())
        assert json.loads(msgspec.json.encode(head)) == example
    for example in VECTORS[f"refused_{kind}"]:
        with pytest.raises(msgspec.ValidationError):
            DECODERS[kind](json.dumps(example).encode())


@pytest.mark.parametrize("example", VECTORS["frames"], ids=lambda example: example["hex"])
def test_frames_are_as_the_examples_say(example: dict[str, Any]) -> None:
    data = bytes.fromhex(example["hex"])
    if example.get("refused"):
        with pytest.raises(frames.FrameError):
            frames.read_header(data)
        return
    kind, length = frames.read_header(data)
    assert chr(kind) == example["kind"]
    assert (len(data) - frames.HEADER < length) == example.get("incomplete", False)
    if "payload" in example:
        assert frames.frame(kind, bytes.fromhex(example["payload"])) == data


@given(st.binary(min_size=5, max_size=5))
def test_noise_is_a_header_or_refused(data: bytes) -> None:
    try:
        kind, length = frames.read_header(data)
    except frames.FrameError:
        return
    assert length <= frames.MAX_PAYLOAD
    assert length.to_bytes(4, "big") + bytes((kind,)) == data


@given(st.binary(max_size=6))
def test_noise_is_a_credit_or_refused(payload: bytes) -> None:
    try:
        kind, count = frames.read_credit(payload)
    except frames.FrameError:
        return
    assert frames.credit_frame(kind, count)[frames.HEADER :] == payload


def test_header_names_have_no_case_and_lines_keep_their_order() -> None:
    headers = Headers([("Accept", "a"), ("X-B", "1"), ("accept", "b"), ("x-c", "é")])
    assert headers["ACCEPT"] == "a" and headers.get_all("accept") == ["a", "b"]
    assert list(headers) == ["accept", "x-b", "x-c"] and len(headers) == 3
    headers["accept"] = "c"
    assert headers.lines() == [("accept", "c"), ("X-B", "1"), ("x-c", "é")]
    headers.add("x-b", "2")
    del headers["X-B"]
    assert headers.lines() == [("accept", "c"), ("x-c", "é")]
    assert "X-B" not in headers and "secret" not in repr(Headers({"a": "secret"}))
    with pytest.raises(KeyError):
        del headers["x-b"]


@pytest.mark.parametrize(
    "line", [("a b", "c"), ("", "c"), ("a", "b\r\nc: d"), ("a", "Ā"), (":a", "b")]
)
def test_what_no_header_line_can_hold_is_refused(line: tuple[str, str]) -> None:
    with pytest.raises(ValueError):
        Headers([line])
    with pytest.raises(ValueError):
        Headers()[line[0]] = line[1]
