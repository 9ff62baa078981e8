"""How set-up tells what it does."""

from __future__ import annotations

import sys
from collections.abc import Callable

#: Takes one line about a step that is about to run.
Report = Callable[[str], None]


def to_stderr(line: str) -> None:
    """Writes ``line`` for a person who waits at a terminal."""
    print(f"wardian: {line}", file=sys.stderr, flush=True)
