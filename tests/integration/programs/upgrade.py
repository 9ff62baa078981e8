"""Begins a WebSocket over TLS, sends a word behind it, and prints the status and what came back."""

import socket
import ssl
import sys

name = sys.argv[1]
plain = socket.create_connection((name, 443), 30)
stream = ssl.create_default_context().wrap_socket(plain, server_hostname=name)
lines = ["GET /v1/x HTTP/1.1", f"Host: {name}", "Connection: Upgrade", "Upgrade: websocket"]
lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
stream.sendall("\r\n".join([*lines, "", ""]).encode())
head = b""
while not head.endswith(b"\r\n\r\n"):
    head += stream.recv(1) or sys.exit(f"no whole head: {head!r}")
stream.sendall(b"to and fro")
print(head.split()[1].decode(), stream.recv(10).decode())
