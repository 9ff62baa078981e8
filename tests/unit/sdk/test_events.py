"""Streams of events, in pieces of any size."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.sdk._errors import ProtocolError
from wardian.sdk._events import EVENT_LIMIT, Event, EventDecoder

STREAM = b":\n\nevent: ready\ndata: {}\n\n:\n\ndata: 1\ndata: 2\n\nevent: nothing\n\n"
EVENTS = [Event("ready", b"{}"), Event("message", b"1\n2")]


@given(st.lists(st.integers(0, len(STREAM))))
def test_pieces_of_any_size_give_the_same_events(cuts: list[int]) -> None:
    decoder = EventDecoder()
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS


def test_an_event_without_an_end_is_refused() -> None:
    decoder = EventDecoder()
    with pytest.raises(ProtocolError):
        for _ in range(EVENT_LIMIT // 65536 + 2):
            decoder.feed(b"x" * 65536)
