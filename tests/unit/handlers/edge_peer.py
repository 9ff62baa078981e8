"""The real handlers' process, and the edge's side of its socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wardian.handlers._frames import HEADER, Kind, credit_frame, frame, read_header

DEADLINE = 20


class Peer:
    """One connection, spoken to in frames."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(str(path))

    def send(self, kind: Kind, payload: Any = b"") -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.socket.sendall(frame(kind, body))

    def credit(self, body: Kind, count: int) -> None:
        self.socket.sendall(credit_frame(body, count))

    def request(self, handler: str, **given: Any) -> None:
        head = {
            "handler": handler,
            "parameters": {},
            "timeout_ms": DEADLINE * 1000,
            "sandbox": {"id": "s" * 20, "name": None, "tenant": None, "labels": {"team": "a"}},
            "method": "GET",
            "url": "https://api.example.com/v1?a=b",
            "version": "HTTP/1.1",
            "headers": [],
            "body": False,
        }
        self.send(Kind.REQUEST, head | given)

    def next(self) -> tuple[Kind, Any]:
        kind, length = read_header(self._exactly(HEADER))
        payload = self._exactly(length)
        if kind in (Kind.FORWARD, Kind.ANSWER, Kind.FAILURE):
            return kind, json.loads(payload)
        return kind, payload

    def expect(self, kind: Kind) -> Any:
        got, payload = self.next()
        assert got is kind, (got, payload)
        return payload

    def body(self, data: Kind, end: Kind, credit: bool = True) -> bytes:
        """Reads a body to its end, giving credit for what it takes."""
        whole = b""
        while True:
            kind, payload = self.next()
            if kind is end:
                return whole
            if kind is Kind.CREDIT:
                continue
            assert kind is data, (kind, payload)
            whole += payload
            if credit:
                self.credit(data, len(payload))

    def _exactly(self, count: int) -> bytes:
        whole = b""
        while len(whole) < count:
            piece = self.socket.recv(count - len(whole))
            if not piece:
                raise EOFError
            whole += piece
        return whole


class Process:
    """``python -m wardian.handlers`` over one directory."""

    def __init__(self, directory: Path, path: Path, log: Path, words: tuple[str, ...]) -> None:
        self.directory, self.path, self.log = directory, path, log
        with socket.socket(socket.AF_UNIX) as listener, log.open("ab") as errors:
            listener.bind(str(path))
            listener.listen(64)
            self.child = subprocess.Popen(
                [sys.executable, "-m", "wardian.handlers", "--path", str(directory), *words],
                stdin=listener.fileno(),
                stderr=errors,
            )
        self.logged("handlers are up")

    def connect(self) -> Peer:
        return Peer(self.path)

    def write(self, name: str, code: str) -> None:
        """Puts a file of handlers there, whole at once."""
        temporary = self.directory / f".{name}"
        temporary.write_text(code)
        os.chmod(temporary, 0o644)
        temporary.rename(self.directory / name)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def logged(self, message: str, count: int = 1) -> None:
        """Waits until it has logged this so many times."""
        end = time.monotonic() + DEADLINE
        while sum(line["message"] == message for line in self.lines()) < count:
            assert time.monotonic() < end, self.log.read_text()
            assert self.child.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> int:
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(DEADLINE)


@contextmanager
def running(tmp_path: Path, files: dict[str, str], *words: str) -> Iterator[Process]:
    """A process with these files as its directory, and more words on its command line."""
    directory = tmp_path / "handlers"
    directory.mkdir(mode=0o755)
    for name, code in files.items():
        (directory / name).write_text(code)
        (directory / name).chmod(0o644)
    process = Process(directory, tmp_path / "h.sock", tmp_path / "log", words)
    try:
        yield process
    finally:
        process.child.kill()
        process.child.wait()
