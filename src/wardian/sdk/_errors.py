"""Every error the SDK raises.

::

    WardianError                    code, hint
    ├── ConfigurationError          no API key, a URL that is none
    ├── ConnectionFailed            nobody answered at the server's address
    │   └── RequestTimeout          somebody did, but not in time
    ├── ProtocolError               the answer is not what the protocol says
    ├── ApiError                    the control plane refused; + status
    │   ├── InvalidRequest          400
    │   ├── AuthenticationError     401
    │   ├── PermissionDenied        403; egress and secrets have more (_egress_errors.py)
    │   ├── NotFound                404
    │   │   ├── SandboxNotFound
    │   │   ├── TemplateNotFound
    │   │   ├── KeyNotFound
    │   │   └── TerminalNotFound
    │   ├── Conflict                409
    │   │   ├── NameTaken
    │   │   ├── TemplateInUse
    │   │   └── TerminalExists
    │   ├── TooLarge                413
    │   ├── Unsupported             422
    │   ├── InternalError           500
    │   └── Unavailable             502, 503, 504
    │       ├── NoCapacity
    │       └── NoSpace
    └── SandboxError                something inside or about one sandbox; + sandbox_id
        ├── SandboxGone             it ended, or is not running
        ├── ProcessNotFound         no process of that pid or name
        ├── ProcessExists           a background process of that name runs
        ├── ProcessEnded            it ended before what was waited for; + info
        ├── WaitTimeout             what was waited for did not come in time
        ├── LogReplaced             another process has the name, and a log of its own
        ├── InvalidArgument         a working directory, user or path that can't be used
        │   └── CommandNotStarted   the program could not be started
        ├── CommandFailed           exit code other than 0 under check=True; + result
        ├── CommandTimeout          stopped at its deadline; + result so far
        ├── SessionError            something about a session (_session_errors.py)
        │   ├── SessionNotFound
        │   ├── SessionExists
        │   ├── SessionEnded        its shell has ended; + exit_code
        │   ├── SessionDirectoryGone its directory can't be entered any more
        │   └── SessionNotKept      the command ended, what it did to its session is lost; + result
        ├── WatchLimit              no room for another watch
        ├── GitError                git failed; its code says at what (_git_errors.py)
        │   ├── GitRepositoryNotFound
        │   ├── GitBranchNotFound
        │   ├── GitAuthenticationFailed
        │   ├── GitNetworkError
        │   ├── GitPathExists
        │   ├── GitNothingToCommit
        │   ├── GitRejected         the other side has what is not here, or refuses
        │   ├── GitConflict         local changes stand in the way, or two sides disagree
        │   ├── GitNotARepository
        │   ├── GitTimeout
        │   └── GitMissing          the sandbox has no git
        └── FileError               + path
            ├── FileNotFound
            ├── FileExists
            ├── IsADirectory
            ├── NotADirectory
            ├── FilePermissionDenied
            ├── ReplacementCountMismatch
            └── DiskFull
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._background import BackgroundInfo
    from ._process import CommandResult


class WardianError(Exception):
    """Anything that went wrong in talking to Wardian.

    Attributes:
        code: A stable word for programs, such as ``sandbox_not_found``.
        hint: What to do about it, or None.
    """

    code: str = "error"

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.hint = hint


class ConfigurationError(WardianError):
    """The SDK was not told enough, or something impossible, to reach a server."""

    code = "configuration"


class ConnectionFailed(WardianError):
    """No connection to the server could be made, or it broke."""

    code = "connection_failed"


class RequestTimeout(ConnectionFailed):
    """The server did not answer in time."""

    code = "request_timeout"


class ProtocolError(WardianError):
    """The other side sent something that the protocol does not allow."""

    code = "protocol"


class ApiError(WardianError):
    """The control plane refused a call.

    Attributes:
        status: The HTTP status of the answer.
    """

    def __init__(
        self, message: str, *, status: int, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status


class InvalidRequest(ApiError):
    """A field of the request is missing, unknown or out of range."""


class AuthenticationError(ApiError):
    """The API key is missing or not known."""


class PermissionDenied(ApiError):
    """The API key may not do this."""


class NotFound(ApiError):
    """There is no such thing."""


class SandboxNotFound(NotFound):
    """There is no sandbox of that id or name."""


class TemplateNotFound(NotFound):
    """There is no template of that name."""


class KeyNotFound(NotFound):
    """There is no API key of that id."""


class Conflict(ApiError):
    """The call contradicts the present state."""


class NameTaken(Conflict):
    """Another sandbox has that name."""


class TemplateInUse(Conflict):
    """Sandboxes still run from that template."""


class TooLarge(ApiError):
    """The request is larger than the server takes."""


class Unsupported(ApiError):
    """This server can't do that."""


class InternalError(ApiError):
    """The server failed; its log says more."""


class Unavailable(ApiError):
    """The server can't do that now; trying again later may help."""


class NoCapacity(Unavailable):
    """No node has room for another sandbox."""


class TerminalNotFound(NotFound):
    """The sandbox has no terminal of that name."""


class TerminalExists(Conflict):
    """The sandbox has a terminal of that name already."""


class NoSpace(Unavailable):
    """The node's disk pool is full."""


class SandboxError(WardianError):
    """Something went wrong inside, or in reaching, one sandbox.

    Attributes:
        sandbox_id: The sandbox.
    """

    def __init__(
        self, message: str, *, sandbox_id: str, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.sandbox_id = sandbox_id


class SandboxGone(SandboxError):
    """The sandbox has ended or is not running."""

    code = "sandbox_gone"


class ProcessNotFound(SandboxError):
    """No process of that pid runs in the sandbox, or none of that name was started."""

    code = "process_not_found"


class ProcessExists(SandboxError):
    """A background process of that name runs already."""

    code = "process_exists"


class ProcessEnded(SandboxError):
    """The background process ended, so what was asked of it can't come any more.

    Attributes:
        info: How it ended, where the answer says so.
    """

    code = "process_ended"

    def __init__(self, message: str, *, sandbox_id: str, info: BackgroundInfo | None) -> None:
        super().__init__(message, sandbox_id=sandbox_id)
        self.info = info


class WaitTimeout(SandboxError):
    """What was waited for did not come in time."""

    code = "wait_timeout"


class LogReplaced(SandboxError):
    """The log that was read is gone: another process has taken the name."""

    code = "log_replaced"


class InvalidArgument(SandboxError):
    """The sandbox can't use an argument: a missing directory, an unknown user, a wrong path."""

    code = "invalid_argument"


class CommandNotStarted(InvalidArgument):
    """The program could not be started: it is missing or not executable."""

    code = "command_not_started"


class CommandFailed(SandboxError):
    """The command ended with an exit code other than 0.

    Attributes:
        result: All that the command left.
    """

    code = "command_failed"

    def __init__(self, message: str, *, sandbox_id: str, result: CommandResult) -> None:
        super().__init__(message, sandbox_id=sandbox_id)
        self.result = result


class CommandTimeout(SandboxError):
    """The command was stopped, with every process it started, because its time was up.

    Attributes:
        result: The output until then; its exit code is -1.
    """

    code = "command_timeout"

    def __init__(self, message: str, *, sandbox_id: str, result: CommandResult) -> None:
        super().__init__(message, sandbox_id=sandbox_id)
        self.result = result


class FileError(SandboxError):
    """A file operation in the sandbox failed.

    Attributes:
        path: The path as it was given.
    """

    code = "file_error"

    def __init__(
        self, message: str, *, sandbox_id: str, path: str, code: str | None = None
    ) -> None:
        super().__init__(message, sandbox_id=sandbox_id, code=code)
        self.path = path


class FileNotFound(FileError):
    """Nothing lies at that path."""

    code = "file_not_found"


class FileExists(FileError):
    """Something lies at that path already."""

    code = "file_exists"


class IsADirectory(FileError):
    """A file is needed there, and a directory lies at that path."""

    code = "is_a_directory"


class NotADirectory(FileError):
    """A directory is needed there, and something else lies at that path."""

    code = "not_a_directory"


class FilePermissionDenied(FileError):
    """The sandbox's kernel does not allow it, not even to root: a read-only mount, for example."""

    code = "permission_denied"


class ReplacementCountMismatch(FileError):
    """The text to replace is not found as often as the caller expects; nothing was changed."""

    code = "replacement_count"


class DiskFull(FileError):
    """The sandbox's disk is full."""

    code = "disk_full"


class WatchLimit(SandboxError):
    """The sandbox can't watch more directories; its limits are the kernel's."""

    code = "watch_limit"
