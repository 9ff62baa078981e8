"""Errors about sessions; their place among all is in `_errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._errors import SandboxError

if TYPE_CHECKING:
    from ._process import CommandResult


class SessionError(SandboxError):
    """A session can't be used as asked."""

    code = "session_error"


class SessionNotFound(SessionError):
    """There is no session of that name, or it was closed."""

    code = "session_not_found"


class SessionExists(SessionError):
    """There is a session of that name already."""

    code = "session_exists"


class SessionEnded(SessionError):
    """The session's shell has ended, by `exit`, `exec` or `set -e`: it takes no more commands.

    Attributes:
        exit_code: What it ended with.
    """

    code = "session_ended"

    def __init__(
        self, message: str, *, sandbox_id: str, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, sandbox_id=sandbox_id, code=code, hint=hint)
        number = message.rpartition("exit code ")[2]
        self.exit_code = int(number) if number.lstrip("-").isdecimal() else -1


class SessionDirectoryGone(SessionError):
    """The session's directory can't be entered any more, and no other is taken in its place."""

    code = "session_directory"


class SessionNotKept(SessionError):
    """The command ended by itself, but its session is what it was before it.

    Its variables and functions are more than 4 MiB, or something wrote where the shell reports.

    Attributes:
        result: All that the command left.
    """

    code = "session_too_large"

    def __init__(self, message: str, *, sandbox_id: str, code: str, result: CommandResult) -> None:
        super().__init__(message, sandbox_id=sandbox_id, code=code)
        self.result = result
