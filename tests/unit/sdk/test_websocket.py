"""Our half of WebSocket against the other half of a library that everybody uses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Close, Frame
from websockets.frames import Opcode as Theirs
from websockets.server import ServerProtocol

from wardian import ProtocolError
from wardian.sdk._websocket import (
    Message,
    MessageDecoder,
    Opcode,
    accept_for,
    close_frame,
    frame,
    new_key,
)

messages = st.lists(
    st.one_of(
        st.tuples(st.just(Opcode.BINARY), st.binary(max_size=300)),
        st.tuples(st.just(Opcode.TEXT), st.text(max_size=100).map(str.encode)),
        st.tuples(st.just(Opcode.PING), st.binary(max_size=125)),
        st.tuples(st.just(Opcode.BINARY), st.integers(65500, 66000).map(bytes)),
    ),
    max_size=8,
)


def _opened() -> ServerProtocol:
    server = ServerProtocol(max_size=None)
    key = new_key()
    server.receive_data(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode() + b"\r\n\r\n"
    )
    [request] = server.events_received()
    reply = server.accept(request)  # pyright: ignore[reportArgumentType]
    assert reply.headers["Sec-WebSocket-Accept"] == accept_for(key)
    server.send_response(reply)
    server.data_to_send()
    return server


@settings(deadline=None)
@given(messages)
def test_what_we_send_is_read_as_it_was(sent: list[tuple[Opcode, bytes]]) -> None:
    server = _opened()
    for opcode, data in sent:
        server.receive_data(frame(opcode, data))
    server.receive_data(close_frame(1001))
    *seen, last = [event for event in server.events_received() if isinstance(event, Frame)]
    assert [(each.opcode.value, bytes(each.data)) for each in seen] == sent
    assert Close.parse(bytes(last.data)).code == 1001


@settings(deadline=None)
@given(messages, st.integers(1, 400), st.integers(1, 70))
def test_what_they_send_is_read_however_it_is_cut(
    sent: list[tuple[Opcode, bytes]], cut: int, piece: int
) -> None:
    server = _opened()
    for opcode, data in sent:
        if opcode is Opcode.PING:
            server.send_ping(data)
            continue
        # In pieces, with a ping in between, as the protocol allows.
        parts = [
            data[at : at + max(piece, len(data) // 4)]
            for at in range(0, len(data), max(piece, len(data) // 4))
        ]
        parts = parts or [b""]
        first = server.send_text if opcode is Opcode.TEXT else server.send_binary
        first(parts[0], fin=len(parts) == 1)
        for n, part in enumerate(parts[1:], 2):
            server.send_ping(b"between")
            server.send_continuation(part, fin=n == len(parts))
    server.send_close(1000, "é")
    wire = b"".join(server.data_to_send())
    decoder = MessageDecoder()
    seen: list[Message] = []
    for at in range(0, len(wire), cut):
        seen += decoder.feed(wire[at : at + cut])
    assert decoder.closed
    assert seen.pop() == Message(Opcode.CLOSE, "é".encode(), 1000)
    assert [(each.opcode, each.data) for each in seen if each.data != b"between"] == [
        each for each in sent if each[1] != b"between"
    ]


@given(st.binary(max_size=60))
def test_noise_is_refused_or_waited_for(noise: bytes) -> None:
    decoder = MessageDecoder(limit=50)
    try:
        for message in decoder.feed(noise):
            assert len(message.data) <= 125
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x82\x81maskx",
        b"\xc2\x01x",
        b"\x83\x00",
        b"\x80\x01x",
        b"\x02\x01x\x82\x01x",
        b"\x09\x00",
        b"\x89\x7e\x00\x80",
        b"\x81\x02\xff\xfe",
        b"\x88\x01x",
        b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_frames_that_are_none_are_refused(wrong: bytes) -> None:
    with pytest.raises(ProtocolError):
        MessageDecoder().feed(wrong + bytes(200))


def test_the_limit_is_of_the_whole_message() -> None:
    decoder = MessageDecoder(limit=10)
    decoder.feed(bytes([Theirs.BINARY, 6]) + b"x" * 6)
    with pytest.raises(ProtocolError):
        decoder.feed(bytes([0x80 | Theirs.CONT, 6]))
