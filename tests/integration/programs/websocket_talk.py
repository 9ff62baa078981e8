"""A talk over a WebSocket with the package ``websockets``."""

from __future__ import annotations

import hashlib
import json
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

told: dict[str, object] = {}
with connect(sys.argv[1], max_size=None) as socket:
    told["welcome"] = socket.recv(timeout=30)
    socket.send("grüße")
    told["text"] = socket.recv(timeout=30)
    data = bytes(range(256)) * 8192
    socket.send([data[: len(data) // 2], data[len(data) // 2 :]])
    echoed = socket.recv(timeout=30)
    told["same"] = hashlib.sha256(echoed).digest() == hashlib.sha256(data).digest()
    told["pong"] = socket.ping().wait(30)
    socket.send("push 3")
    told["pushed"] = [socket.recv(timeout=30) for _ in range(3)]
    socket.send("bye")
    try:
        socket.recv(timeout=30)
    except ConnectionClosed as closed:
        told["closed"] = [closed.rcvd.code, closed.rcvd.reason] if closed.rcvd else None
print(json.dumps(told))
