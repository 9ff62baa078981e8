"""Servers that answer on every address: HTTP/1.1 and HTTP/2, plain or over TLS, WebSocket, and
for anything else whatever was sent, repeated.

They read as leniently as the worst of servers do, so that what slips through is understood.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import select
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import Final

from . import answers, web_2
from .authority import Authority
from .record import Arrival, Record, Request

_WAIT: Final = 10.0
_PREFACE: Final = b"PRI * HTTP/2.0"
_METHODS: Final = (b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT")
Stream = socket.socket | ssl.SSLSocket


@dataclass(slots=True)
class Web:
    """The servers. Names beginning with ``one.`` speak no HTTP/2."""

    authority: Authority
    record: Record
    _listeners: list[socket.socket] = field(default_factory=list[socket.socket])
    _open: set[socket.socket] = field(default_factory=set[socket.socket])
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def listen(self, *ports: int) -> None:
        """Opens ports in the calling thread's namespace."""
        for port in ports:
            self._listeners.append(
                socket.create_server(
                    ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
                )
            )

    def serve(self, stop: socket.socket) -> None:
        """Accepts until ``stop`` can be read; a thread's whole work."""
        poll = select.poll()
        by_number = {listener.fileno(): listener for listener in self._listeners}
        for number in (*by_number, stop.fileno()):
            poll.register(number, select.POLLIN)
        while True:
            ready = [number for number, _ in poll.poll()]
            if stop.fileno() in ready:
                break
            for number in ready:
                stream, _ = by_number[number].accept()
                self._open.add(stream)
                thread = threading.Thread(target=self._converse, args=(stream,), daemon=True)
                thread.start()
        for socket_ in (*self._listeners, *list(self._open)):
            with contextlib.suppress(OSError):
                socket_.close()

    def _converse(self, stream: socket.socket) -> None:
        address, port = stream.getsockname()[:2]
        arrival = Arrival(address.removeprefix("::ffff:"), port)
        self.record.arrived(arrival)
        with contextlib.suppress(OSError, ValueError), stream:
            stream.settimeout(_WAIT)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            arrival.first = stream.recv(4096, socket.MSG_PEEK)
            if arrival.first[:1] == b"\x16":
                with self._secured(stream, arrival) as inner:
                    self._serve_protocol(inner, arrival)
            else:
                self._serve_protocol(stream, arrival)
        self._open.discard(stream)

    def _secured(self, stream: socket.socket, arrival: Arrival) -> ssl.SSLSocket:
        context = self.authority.context(arrival.address, http2=True)

        def choose(secured: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: object) -> None:
            arrival.server_name = name
            if name is not None:
                secured.context = self.authority.context(name, not name.startswith("one."))

        context.sni_callback = choose
        # The peeked bytes are of a hello that may come in many pieces.
        secured = context.wrap_socket(stream, server_side=True)
        arrival.protocol = secured.selected_alpn_protocol()
        return secured

    def _serve_protocol(self, stream: Stream, arrival: Arrival) -> None:
        begin = bytearray()
        while len(begin) < len(_PREFACE) and _PREFACE.startswith(bytes(begin)):
            if not _more(stream, begin):
                break
        arrival.raw += begin
        if begin.startswith(_PREFACE):
            web_2.serve(stream, bytes(begin), arrival, self.record)
        elif bytes(begin).lstrip().upper().startswith(_METHODS):
            _serve_1(stream, begin, arrival, self.record)
        else:
            stream.sendall(begin)
            while piece := stream.recv(65536):
                arrival.raw += piece
                stream.sendall(piece)


def _more(stream: Stream, buffer: bytearray) -> bool:
    piece = stream.recv(65536)
    buffer += piece
    return bool(piece)


def _serve_1(stream: Stream, buffer: bytearray, arrival: Arrival, record: Record) -> None:
    reader = _Reader(stream, buffer, arrival)
    while (head := reader.head()) is not None:
        lines = head.replace(b"\r\n", b"\n").decode("latin-1").strip("\n").split("\n")
        method, _, rest = lines[0].partition(" ")
        target = rest.rpartition(" ")[0] or rest
        pairs = [line.partition(":") for line in lines[1:]]
        headers = [(name.strip(), value.strip()) for name, _, value in pairs]
        request = Request("1.1", method, target, headers, b"", head, arrival)
        record.requested(request)
        if request.all("upgrade"):
            _websocket(stream, request, reader)
            return
        if request.all("expect"):
            stream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.body = reader.body(request)
        if not _send(stream, request):
            return


def _send(stream: Stream, request: Request) -> bool:
    """Answers; False when the connection is over."""
    answer = answers.to(request)
    if answer.hang:
        stream.recv(1)
        return False
    if answer.raw is not None:
        stream.sendall(answer.raw)
        return False
    size = sum(map(len, answer.pieces)) + (1000 if answer.cut else 0)
    framing = ("transfer-encoding", "chunked") if answer.chunked else ("content-length", str(size))
    lines = [f"HTTP/1.1 {answer.status} Done"]
    lines += [f"{name}: {value}" for name, value in (*answer.headers, framing)]
    stream.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    for piece in answer.pieces if request.method != "HEAD" else []:
        stream.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if answer.chunked else piece)
    if answer.chunked:
        stream.sendall(b"0\r\n\r\n")
    return not answer.cut


@dataclass(slots=True)
class _Reader:
    stream: Stream
    buffer: bytearray
    arrival: Arrival

    def head(self) -> bytes | None:
        """The next head; both kinds of line end are taken."""
        while True:
            for end in (b"\r\n\r\n", b"\n\n"):
                at = self.buffer.find(end)
                if at >= 0:
                    return self.take(at + len(end))
            if not self.fill():
                return None

    def take(self, length: int) -> bytes:
        while len(self.buffer) < length and self.fill():
            pass
        taken = bytes(self.buffer[:length])
        del self.buffer[:length]
        return taken

    def fill(self) -> bool:
        before = len(self.buffer)
        more = _more(self.stream, self.buffer)
        self.arrival.raw += self.buffer[before:]
        return more

    def body(self, request: Request) -> bytes:
        if any("chunked" in value.lower() for value in request.all("transfer-encoding")):
            return self.chunks(request)
        lengths = [int(each) for each in request.all("content-length") if each.isdecimal()]
        return self.take(lengths[-1]) if lengths else b""

    def line(self) -> bytes:
        while b"\n" not in self.buffer and self.fill():
            pass
        return self.take(self.buffer.find(b"\n") + 1).strip()

    def chunks(self, request: Request) -> bytes:
        body = bytearray()
        while size := int(self.line().partition(b";")[0] or b"0", 16):
            body += self.take(size)
            self.line()
        while line := self.line():
            name, _, value = line.decode("latin-1").partition(":")
            request.trailers.append((name, value.strip()))
        return bytes(body)


def _websocket(stream: Stream, request: Request, reader: _Reader) -> None:
    """Accepts the upgrade (RFC 6455) and sends every message back."""
    key = "".join(request.all("sec-websocket-key")).encode()
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = base64.b64encode(digest).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", f"upgrade: {''.join(request.all('upgrade'))}"]
    lines += ["connection: upgrade", f"sec-websocket-accept: {accept}", "", ""]
    stream.sendall("\r\n".join(lines).encode())
    while len(head := reader.take(2)) == 2:
        length = head[1] & 127
        if length == 126:
            length = int.from_bytes(reader.take(2), "big")
        mask = reader.take(4) if head[1] & 128 else bytes(4)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(reader.take(length)))
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
        stream.sendall(head[:1] + size + data)
