"""Where handlers keep what is to outlive a reload and their process."""

from __future__ import annotations

import os
from pathlib import Path

STATE_VARIABLE = "WARDIAN_HANDLERS_STATE"


def state_directory() -> Path:
    """A directory of the handlers' own, which no sandbox sees. Variables of a module begin anew
    whenever a file is changed; what lies here stays.

    Tests of handlers name one in the environment, as ``WARDIAN_HANDLERS_STATE``.

    Raises:
        RuntimeError: the handlers' process was given none.
    """
    named = os.environ.get(STATE_VARIABLE)
    if not named:
        raise RuntimeError(f"there is no directory for state: {STATE_VARIABLE} is not set")
    return Path(named)
