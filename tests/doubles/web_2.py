"""A server of HTTP/2 (RFC 9113) that takes whatever header fields come."""

from __future__ import annotations

import socket
import ssl

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, TrailersReceived

from . import answers
from .record import Arrival, Record, Request


def serve(
    stream: socket.socket | ssl.SSLSocket, begin: bytes, arrival: Arrival, record: Record
) -> None:
    """Answers requests until the client leaves.

    Args:
        begin: what was read already.
    """
    link = H2Connection(
        H2Configuration(
            client_side=False, validate_inbound_headers=False, normalize_inbound_headers=False
        )
    )
    link.initiate_connection()
    link.update_settings({})
    stream.sendall(link.data_to_send())
    requests: dict[int, Request] = {}
    piece = begin
    while piece:
        for event in link.receive_data(piece):
            _on(link, event, requests, arrival, record, stream)
        stream.sendall(link.data_to_send())
        piece = stream.recv(65536)
        arrival.raw += piece


def _on(
    link: H2Connection,
    event: Event,
    requests: dict[int, Request],
    arrival: Arrival,
    record: Record,
    stream: socket.socket | ssl.SSLSocket,
) -> None:
    if isinstance(event, RequestReceived):
        fields = [(_text(name), _text(value)) for name, value in event.headers]
        pseudo = {name: value for name, value in fields if name.startswith(":")}
        headers = [(n, v) for n, v in fields if not n.startswith(":")]
        if ":authority" in pseudo:
            headers.insert(0, (":authority", pseudo[":authority"]))
        head = "\n".join(f"{name}: {value}" for name, value in fields).encode("latin-1")
        method, target = pseudo.get(":method", ""), pseudo.get(":path", "")
        request = Request("2", method, target, headers, b"", head, arrival)
        requests[event.stream_id] = request
        record.requested(request)
    elif isinstance(event, DataReceived):
        requests[event.stream_id].body += event.data
        link.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, TrailersReceived):
        trailers = [(_text(name), _text(value)) for name, value in event.headers]
        requests[event.stream_id].trailers = trailers
    elif isinstance(event, StreamEnded):
        _answer(link, event.stream_id, requests.pop(event.stream_id), stream)


def _answer(
    link: H2Connection, number: int, request: Request, stream: socket.socket | ssl.SSLSocket
) -> None:
    answer = answers.to(request)
    if answer.hang:
        return
    headers = [(":status", str(answer.status)), *answer.headers]
    link.send_headers(number, headers, end_stream=not answer.pieces)
    for place, piece in enumerate(answer.pieces):
        # Small answers only: a window of 64 KiB is not waited for.
        last = place == len(answer.pieces) - 1 and not answer.cut
        link.send_data(number, piece[:16384], end_stream=last)
        stream.sendall(link.data_to_send())
    if answer.cut:
        link.reset_stream(number)


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
