"""Runs inside a sandbox: answers HTTP as a program that wants to harm whoever asks.

The path names the harm. Argument: port.
"""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator

OK = b"HTTP/1.1 200 OK\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
# More than any reader may keep; a reader without a bound takes it all.
PLENTY = 256 * 1024 * 1024


def endless(start: bytes, piece: bytes) -> Iterator[bytes]:
    yield start
    block = piece * max(1, 65536 // len(piece))
    for _ in range(PLENTY // len(block)):
        yield block


def once(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces


HARMS = {
    "fine": lambda: once(OK + b"Content-Length: 4\r\n\r\nfine"),
    "endless-header-value": lambda: endless(OK + b"X: ", b"y"),
    "endless-headers": lambda: endless(OK, b"X-Header: some value\r\n"),
    "endless-status": lambda: endless(b"HTTP/1.1 200 ", b"OK"),
    "endless-noise": lambda: endless(b"", b"\xff\x00 noise"),
    "endless-blank-lines": lambda: endless(b"", b"\r\n"),
    "endless-1xx": lambda: endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "endless-100": lambda: endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "endless-body": lambda: endless(OK + b"\r\n", b"body"),
    "endless-chunks": lambda: endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"c" * 1024 + b"\r\n"
    ),
    "endless-tiny-chunks": lambda: endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nc\r\n"
    ),
    "endless-chunk-extension": lambda: endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"extension"
    ),
    "endless-trailers": lambda: endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: some value\r\n"
    ),
    "huge-chunk-size": lambda: once(
        OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\nx"
    ),
    "largest-chunk-size": lambda: once(
        OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nx"
    ),
    "bad-chunk-size": lambda: once(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx"),
    "negative-length": lambda: once(OK + b"Content-Length: -5\r\n\r\nx"),
    "huge-length": lambda: once(OK + b"Content-Length: 18446744073709551615\r\n\r\nx"),
    "overflowing-length": lambda: once(OK + b"Content-Length: 99999999999999999999\r\n\r\nx"),
    "two-lengths": lambda: once(OK + b"Content-Length: 1\r\nContent-Length: 40\r\n\r\nx"),
    "length-and-coding": lambda: once(
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    ),
    "short-body": lambda: once(OK + b"Content-Length: 1000\r\n\r\nshort"),
    "second-answer": lambda: once(
        OK + b"Content-Length: 1\r\n\r\nx" + OK + b"Content-Length: 6\r\n\r\npoison"
    ),
    "unasked-upgrade": lambda: once(SWITCH + b"Upgrade: websocket\r\n\r\nnoise"),
    "other-upgrade": lambda: once(SWITCH + b"Upgrade: h2c\r\n\r\nPRI * HTTP"),
    "status-000": lambda: once(b"HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n"),
    "status-999": lambda: once(b"HTTP/1.1 999 Big\r\nContent-Length: 0\r\n\r\n"),
    "status-negative": lambda: once(b"HTTP/1.1 -20 Less\r\n\r\n"),
    "version-9": lambda: once(b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "version-0.9": lambda: once(b"<html>plain</html>"),
    "nul-in-header": lambda: once(OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n"),
    "line-in-header": lambda: once(OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n"),
    "routing-headers": lambda: once(
        OK + b"Connection: close, content-length\r\nContent-Length: 2\r\n\r\nhi"
    ),
    "nothing": lambda: once(),
}


def serve(stream: socket.socket) -> None:
    with stream, contextlib.suppress(OSError):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = stream.recv(65536)
            if not piece:
                return
            head += piece
        path = head.split()[1].decode().strip("/")
        for piece in HARMS[path]():
            stream.sendall(piece)
        if path == "endless-silence":
            stream.recv(1)


def main() -> None:
    listener = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=128)
    print("ready", flush=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=(stream,), daemon=True).start()


if __name__ == "__main__":
    main()
