"""A way to the node that can be cut: what a lost network is to a client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress


class Way:
    """Passes connections on to a port of this machine.

    Attributes:
        url: Where it listens.
        connections: How many have been made.
    """

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener = listener
        self._port = port
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self.refusing = False
        self.connections = 0
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def serve(self) -> None:
        """Accept until the listener is closed."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.refusing:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                with self._lock:
                    self.connections += 1
                    self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=(source, target), daemon=True).start()

    def cut(self) -> None:
        """Cut all connections there are."""
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def way_to(port: int) -> Iterator[Way]:
    """A way to `port` of this machine."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        way = Way(listener, port)
        thread = threading.Thread(target=way.serve, daemon=True)
        thread.start()
        yield way
        # Closing alone does not end an accept that waits.
        listener.shutdown(socket.SHUT_RDWR)
        way.cut()
        thread.join()
