"""The Connect envelopes, cut at every place a network may cut them."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian import ProtocolError
from wardian.sdk._connect import END_OF_STREAM, EnvelopeDecoder, envelope


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(min_value=0)))
def test_messages_survive_any_cutting(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(envelope, messages)) + envelope(b"{}", END_OF_STREAM)
    decoder = EnvelopeDecoder()
    got = [message for piece in pieces(data, cuts) for message in decoder.feed(piece)]
    assert got == messages
    assert decoder.ended and decoder.error is None


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0)))
def test_arbitrary_bytes_are_messages_or_a_protocol_error(data: bytes, cuts: list[int]) -> None:
    whole, parts = EnvelopeDecoder(limit=100), EnvelopeDecoder(limit=100)

    def outcome(decoder: EnvelopeDecoder, feed: list[bytes]) -> object:
        try:
            return [message for piece in feed for message in decoder.feed(piece)]
        except ProtocolError:
            return "refused"

    assert outcome(whole, [data]) == outcome(parts, pieces(data, cuts))


@given(st.text(min_size=1, max_size=20), st.text(max_size=50))
def test_an_error_at_the_end_is_told(code: str, message: str) -> None:
    decoder = EnvelopeDecoder()
    trailer = json.dumps({"error": {"code": code, "message": message}, "metadata": {}}).encode()
    assert decoder.feed(envelope(trailer, END_OF_STREAM)) == []
    assert decoder.error is not None
    assert (decoder.error.code, decoder.error.message) == (code, message)


@pytest.mark.parametrize(
    "data",
    [
        envelope(b"{}", 1),
        b"\0\xff\xff\xff\xff",
        envelope(b"{}", END_OF_STREAM) + b"\0",
        envelope(b"{}", END_OF_STREAM) + envelope(b"{}"),
        envelope(b"nonsense", END_OF_STREAM),
        envelope(b"\xff", END_OF_STREAM),
    ],
)
def test_what_the_protocol_forbids_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        EnvelopeDecoder().feed(data)
