"""The terminal this program itself runs in: raw while a remote one is shown, then as it was."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Generator
from contextlib import contextmanager

# Modes that a program switches on for itself, and what they are when it is gone.
_MODES = {
    b"1": b"l",
    b"5": b"l",
    b"6": b"l",
    b"7": b"h",
    b"9": b"l",
    b"25": b"h",
    b"1000": b"l",
    b"1002": b"l",
    b"1003": b"l",
    b"1004": b"l",
    b"1005": b"l",
    b"1006": b"l",
    b"1015": b"l",
    b"1016": b"l",
    b"2004": b"l",
    # Last, the screen: what lies below is shown again.
    b"47": b"l",
    b"1047": b"l",
    b"1049": b"l",
}
_SETS = re.compile(rb"\x1b\[\?([0-9;]+)([hl])")
# Longer than any sequence above, so that one in two pieces is seen.
_TAIL = 64


class Screen:
    """Our screen, showing what another terminal shows."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._tail = b""
        self._changed: dict[bytes, None] = {}

    def show(self, data: bytes) -> None:
        """Write what the other terminal shows."""
        self._write(data)
        seen = self._tail + data
        for numbers, letter in _SETS.findall(seen):
            for number in numbers.split(b";"):
                if _MODES.get(number, letter) == letter:
                    self._changed.pop(number, None)
                else:
                    self._changed[number] = None
        self._tail = seen[-_TAIL:]

    def restore(self) -> None:
        """Undo what the programs there have changed and left so."""
        changed = [number for number in _MODES if number in self._changed]
        undo = b"".join(b"\x1b[?%b%b" % (number, _MODES[number]) for number in changed)
        self._changed.clear()
        self._write(undo + b"\x1b[m")

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Whoever shares the descriptor may have made it so.
                select.select([], [self._descriptor], [])


class DetachKeys:
    """Finds `~.` at the beginning of a line, as ssh does; `~~` there is one `~`."""

    def __init__(self) -> None:
        self._line_begins = True
        self._held = False

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What of `typed` is to be sent, and whether detaching was asked for."""
        out = bytearray()
        for byte in typed:
            if self._held:
                self._held = False
                if byte == ord("."):
                    return bytes(out), True
                out += b"~" if byte == ord("~") else b"~%c" % byte
                self._line_begins = byte in b"\r\n"
            elif byte == ord("~") and self._line_begins:
                self._held = True
            else:
                out.append(byte)
                self._line_begins = byte in b"\r\n"
        return bytes(out), False


def size(descriptor: int) -> tuple[int, int]:
    """Columns and lines of a terminal, 80 and 24 where it does not know."""
    cols, rows = os.get_terminal_size(descriptor)
    return cols or 80, rows or 24


def is_terminal() -> bool:
    """Whether somebody sits in front of this program."""
    return all(not stream.closed and stream.isatty() for stream in (sys.stdin, sys.stdout))


@contextmanager
def raw(descriptor: int) -> Generator[None]:
    """Every key is passed on as it is, Ctrl-C too; afterwards all is as it was."""
    before = termios.tcgetattr(descriptor)
    # Who is in the background must not stop while it puts things in order.
    stop = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        # What was typed ahead is not thrown away.
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTTOU, stop)
