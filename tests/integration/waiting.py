"""Waiting for what will be, without saying how fast: a bound only keeps a failure from hanging."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_BOUND_SECONDS = 30.0


def until(look: Callable[[], T], what: str, *, bound: float = _BOUND_SECONDS) -> T:
    """Looks again and again until it sees something.

    Args:
        look: returns something true once it is there; may raise while it is not.
        what: named in the failure.
        bound: seconds after which the test fails.

    Raises:
        AssertionError: it was not there in time; carries what ``look`` said last.
    """
    end = time.monotonic() + bound
    while True:
        last: object
        try:
            found = look()
            if found:
                return found
            last = found
        except Exception as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {bound:.0f} s; last seen: {last!r}")
        time.sleep(0.05)
