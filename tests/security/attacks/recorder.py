"""Runs inside a sandbox: answers every request with its name, and keeps each head it was sent.

Arguments: port, name, file to keep the heads in (JSON, one per line).
"""

import json
import socket
import sys
import threading


def head_of(stream: socket.SocketType, buffer: bytearray) -> bytes | None:
    while b"\r\n\r\n" not in buffer:
        piece = stream.recv(65536)
        if not piece:
            return None
        buffer += piece
    end = buffer.index(b"\r\n\r\n") + 4
    head = bytes(buffer[:end])
    del buffer[:end]
    return head


def skip_body(head: bytes, stream: socket.SocketType, buffer: bytearray) -> None:
    lower = head.lower()
    if b"transfer-encoding:" in lower:
        while b"0\r\n\r\n" not in buffer:
            piece = stream.recv(65536)
            if not piece:
                return
            buffer += piece
        del buffer[: buffer.index(b"0\r\n\r\n") + 5]
    elif b"content-length:" in lower:
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(buffer) < length:
            piece = stream.recv(65536)
            if not piece:
                return
            buffer += piece
        del buffer[:length]


def serve(stream: socket.SocketType, name: bytes, kept: str) -> None:
    buffer = bytearray()
    with stream:
        while (head := head_of(stream, buffer)) is not None:
            with open(kept, "a") as file:
                file.write(json.dumps(head.decode("latin-1")) + "\n")
            skip_body(head, stream, buffer)
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name))


def main() -> None:
    port, name, kept = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
    open(kept, "w").close()
    listener = socket.create_server(("0.0.0.0", port))
    print("ready", flush=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=(stream, name, kept), daemon=True).start()


if __name__ == "__main__":
    main()
