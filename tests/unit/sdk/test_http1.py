"""HTTP/1.1 responses, cut anywhere, and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian import ProtocolError
from wardian.sdk._http1 import HEAD_LIMIT, BodyDecoder, Head, header_block, parse_head

from .test_connect import pieces


def decode(head: Head, data: bytes, cuts: list[int]) -> tuple[bytes, BodyDecoder]:
    decoder = BodyDecoder(head, "GET")
    body = b""
    for piece in pieces(data, cuts):
        if not decoder.done:
            body += b"".join(decoder.decode(memoryview(piece)))
    return body, decoder


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.lists(st.integers(0)))
def test_chunked_bodies_survive_any_cutting(chunks: list[bytes], cuts: list[int]) -> None:
    data = (
        b"".join(b"%X;ext=1\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    )
    body, decoder = decode(Head(200, {"transfer-encoding": "chunked"}, True), data, cuts)
    assert body == b"".join(chunks)
    assert decoder.done and not decoder.surplus


@given(st.binary(max_size=300), st.lists(st.integers(0)))
def test_bodies_with_a_length_survive_any_cutting(data: bytes, cuts: list[int]) -> None:
    body, decoder = decode(Head(200, {"content-length": str(len(data))}, True), data, cuts)
    assert body == data
    assert decoder.done and not decoder.surplus


@given(st.binary(max_size=200))
def test_arbitrary_chunked_bytes_never_fail_otherwise(data: bytes) -> None:
    try:
        decode(Head(200, {"transfer-encoding": "chunked"}, True), data, [])
    except ProtocolError as error:
        assert str(error)


@given(st.binary(max_size=300))
def test_arbitrary_heads_never_fail_otherwise(data: bytes) -> None:
    try:
        parsed = parse_head(b"HTTP/1.1 " + data + b"\r\n\r\n")
    except ProtocolError:
        return
    assert parsed is not None and 100 <= parsed[0].status <= 999


def test_a_head_is_read_to_its_end() -> None:
    data = b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 3\r\na: 2\r\n\r\nabc"
    assert parse_head(data[:30]) is None
    parsed = parse_head(data)
    assert parsed is not None
    head, length = parsed
    assert data[length:] == b"abc"
    assert head == Head(200, {"a": "1, 2", "content-length": "3"}, True)


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (b"HTTP/1.1 204 \r\nConnection: Keep-Alive, Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
        (b"HTTP/1.1 200\r\n\r\n", True),
    ],
)
def test_whether_a_connection_can_be_used_again(data: bytes, reusable: bool) -> None:
    parsed = parse_head(data)
    assert parsed is not None and parsed[0].reusable is reusable


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : value\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * HEAD_LIMIT,
    ],
)
def test_malformed_heads_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_head(data)


@pytest.mark.parametrize("length", ["-1", "1x", "", "1" * 30, "²"])
def test_malformed_lengths_are_refused(length: str) -> None:
    with pytest.raises(ProtocolError):
        BodyDecoder(Head(200, {"content-length": length}, True), "GET")


@pytest.mark.parametrize("data", [b"g\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"3\nabc", b"1" * 9000])
def test_malformed_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(Head(200, {"transfer-encoding": "chunked"}, True), data, [])


def test_an_end_in_the_middle_of_a_body_is_told() -> None:
    decoder = BodyDecoder(Head(200, {"content-length": "5"}, True), "GET")
    decoder.decode(memoryview(b"abc"))
    with pytest.raises(ProtocolError):
        decoder.end()


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\0", "é"])
def test_headers_cannot_be_smuggled(value: str) -> None:
    with pytest.raises(ValueError, match="header A"):
        header_block({"A": value})
