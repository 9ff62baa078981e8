"""Speaks to a launcher's socket; run as another user, from its text, by test_launcher_socket.

Argument: the socket. Standard input: JSON, a list of steps, each on a connection of its own:
``{"request": …}`` sends a frame and reads the reply, ``{"bytes": base64}`` sends just that and
reads what comes until the end. Prints a JSON list: reply, or what went wrong, per step.
"""

import base64
import json
import socket
import struct
import sys


def exactly(stream, length):
    data = b""
    while len(data) < length:
        piece = stream.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def step(path, what):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(20)
        try:
            stream.connect(path)
        except OSError as error:
            return {"connect": error.strerror}
        try:
            if "request" in what:
                body = json.dumps(what["request"]).encode()
                stream.sendall(struct.pack("!I", len(body)) + body)
            else:
                stream.sendall(base64.b64decode(what["bytes"]))
                if what.get("half_close", True):
                    stream.shutdown(socket.SHUT_WR)
            length = struct.unpack("!I", exactly(stream, 4))[0]
            return json.loads(exactly(stream, length))
        except EOFError:
            return {"closed": True}
        except ConnectionError as error:
            return {"closed": error.strerror}


if __name__ == "__main__":
    print(json.dumps([step(sys.argv[1], what) for what in json.load(sys.stdin)]))
