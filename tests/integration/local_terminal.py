"""A terminal on this side: `wardian` run in it as a person runs it."""

from __future__ import annotations

import os
import pty
import select
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

PATIENCE = 60.0


class LocalTerminal:
    """A program in a terminal of ours.

    Attributes:
        pid: The program.
    """

    def __init__(self, pid: int, master: int) -> None:
        self.pid = pid
        self.master = master
        self.seen = b""

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.master, keys.encode())

    def resize(self, cols: int, rows: int) -> None:
        """As dragging the window's corner does."""
        ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def until(self, wanted: str) -> str:
        """All that was shown up to `wanted`; what is behind stays for the next call."""
        found = wanted.encode()
        while found not in self.seen:
            data = self._read()
            assert data, f"ended without {wanted!r}: {self.seen[-2000:]!r}"
            self.seen += data
        shown, self.seen = self.seen.split(found, 1)
        return (shown + found).decode(errors="replace")

    def rest(self) -> str:
        """All that is shown until the program ends."""
        while data := self._read():
            self.seen += data
        shown, self.seen = self.seen, b""
        return shown.decode(errors="replace")

    def is_raw(self) -> bool:
        """Whether keys are passed on as they are."""
        return not termios.tcgetattr(self.master)[3] & termios.ICANON

    def end(self) -> int:
        """Wait for the program; its exit code."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bytes:
        ready, _, _ = select.select([self.master], [], [], PATIENCE)
        assert ready, f"nothing is shown any more behind {self.seen[-2000:]!r}"
        try:
            return os.read(self.master, 65536)
        except OSError:
            # EIO: nobody has the other side open any more.
            return b""


@contextmanager
def wardian_in_terminal(
    url: str, key: str, *arguments: str, cols: int = 90, rows: int = 25, hold: bool = False
) -> Iterator[LocalTerminal]:
    """Runs `wardian` in a terminal of ours.

    Args:
        url: The server.
        key: The API key.
        arguments: Of `wardian`.
        cols: Of the terminal.
        rows: Of the terminal.
        hold: Run it from a shell that says `code=` and its exit code, and what the terminal is like
            then, so that one sees what it leaves behind.
    """
    program = str(Path(sys.executable).with_name("wardian"))
    command = [program, *arguments]
    if hold:
        script = '"$@"; code=$?; stty -a; echo "code=$code"'
        command = ["/bin/bash", "-c", script, "bash", *command]
    environment = {**os.environ, "WARDIAN_URL": url, "WARDIAN_API_KEY": key, "TERM": "xterm"}
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, environment)
    terminal = LocalTerminal(pid, master)
    terminal.resize(cols, rows)
    try:
        yield terminal
    finally:
        if terminal.pid:
            os.kill(terminal.pid, 9)
            terminal.end()
        os.close(master)
