"""What set-up raises."""

from __future__ import annotations


class SetupError(Exception):
    """This machine can't be made ready.

    Args:
        message: what failed, on which object.
        hint: the command or change that mends it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n  to mend it: {hint}")
        self.message = message
        self.hint = hint
