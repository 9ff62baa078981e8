"""Logs are read the same however they are cut, and patterns mean the same in the sandbox."""

from __future__ import annotations

import re
import struct

import pytest

from wardian import ProtocolError
from wardian.sdk._background import LogDecoder, ProcessLog, pattern_query, status_word

HEADER = struct.Struct(">B3xIQQ")


def record(kind: int, data: bytes, cursor: int, time: int = 1) -> bytes:
    return HEADER.pack(kind, len(data), cursor, time) + data


@pytest.mark.parametrize("cut", [1, 7, 24, 25, 1000])
def test_records_survive_any_cutting(cut: int) -> None:
    log = record(3, b'{"event":"start"}', 0) + record(1, bytes(range(256)), 41)
    log += record(2, b"", 321) + record(4, b'{"lost":5,"next":900}', 345) + record(5, b"", 900)
    decoder = LogDecoder()
    records = [r for at in range(0, len(log), cut) for r in decoder.feed(log[at : at + cut])]
    assert [r.kind for r in records] == ["mark", "stdout", "stderr", "gap", "idle"]
    assert [r.cursor for r in records] == [0, 41, 321, 345, 900]
    assert [r.next for r in records] == [41, 321, 345, 900, 900]
    assert records[1].data == bytes(range(256))
    assert records[0].json == {"event": "start"}
    assert decoder.empty


def test_a_record_that_is_not_whole_is_seen() -> None:
    decoder = LogDecoder()
    assert decoder.feed(record(1, b"abc", 0)[:-1]) == []
    assert not decoder.empty


@pytest.mark.parametrize(
    "bad",
    [
        record(9, b"", 0),
        HEADER.pack(1, 0xFFFFFFFF, 0, 0),
        record(4, b"[]", 0),
        record(4, b'{"lost":"x"}', 0),
    ],
)
def test_what_is_no_log_is_refused(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        LogDecoder().feed(bad)


def test_a_time_beyond_all_calendars_is_no_failure() -> None:
    assert LogDecoder().feed(record(1, b"x", 0, 2**64 - 1))[0].data == b"x"


def test_characters_cut_between_records_are_whole_in_the_text() -> None:
    raw = "é".encode()
    records = LogDecoder().feed(record(1, raw[:1], 0) + record(1, raw[1:], 25))
    log = ProcessLog(tuple(records), 50)
    assert (log.text, log.stdout, log.stderr, str(log)) == ("é", "é", "", "é")


@pytest.mark.parametrize(
    ("pattern", "query"),
    [
        ("a.b", ("text", "a.b")),
        (re.compile("a.b"), ("regex", "a.b")),
        (re.compile("a", re.IGNORECASE | re.DOTALL), ("regex", "(?is)a")),
        (re.compile(r"\\w", re.ASCII), ("regex", r"(?-u)\\w")),
    ],
)
def test_patterns_keep_their_meaning(
    pattern: str | re.Pattern[str], query: tuple[str, str]
) -> None:
    assert pattern_query(pattern) == query


def test_statuses() -> None:
    assert (status_word(204), status_word((200, 299))) == ("204", "200-299")
