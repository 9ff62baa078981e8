"""The one place where refusals, of the control plane, the edge or an agent, become errors."""

from __future__ import annotations

import msgspec

from ._background import BackgroundInfo
from ._egress_errors import (
    PresetNotFound,
    PrivateDestination,
    RuleNotFound,
    SecretHostMismatch,
    SecretInUse,
    SecretNotFound,
)
from ._errors import (
    ApiError,
    AuthenticationError,
    Conflict,
    DiskFull,
    FileError,
    FileExists,
    FileNotFound,
    FilePermissionDenied,
    InternalError,
    InvalidArgument,
    InvalidRequest,
    IsADirectory,
    KeyNotFound,
    LogReplaced,
    NameTaken,
    NoCapacity,
    NoSpace,
    NotADirectory,
    NotFound,
    PermissionDenied,
    ProcessEnded,
    ProcessExists,
    ProcessNotFound,
    ReplacementCountMismatch,
    SandboxError,
    SandboxGone,
    SandboxNotFound,
    TemplateInUse,
    TemplateNotFound,
    TerminalExists,
    TerminalNotFound,
    TooLarge,
    Unavailable,
    Unsupported,
    WaitTimeout,
    WardianError,
    WatchLimit,
)
from ._git_errors import (
    GitAuthenticationFailed,
    GitBranchNotFound,
    GitConflict,
    GitError,
    GitMissing,
    GitNetworkError,
    GitNotARepository,
    GitNothingToCommit,
    GitPathExists,
    GitRejected,
    GitRepositoryNotFound,
    GitTimeout,
)
from ._preview_errors import ExposureNotFound, SandboxEnded, SandboxPaused, TokenTaken
from ._session_errors import (
    SessionDirectoryGone,
    SessionEnded,
    SessionExists,
    SessionNotFound,
)

_API_BY_CODE: dict[str, type[ApiError]] = {
    "sandbox_not_found": SandboxNotFound,
    "template_not_found": TemplateNotFound,
    "key_not_found": KeyNotFound,
    "name_taken": NameTaken,
    "template_in_use": TemplateInUse,
    "terminal_not_found": TerminalNotFound,
    "terminal_exists": TerminalExists,
    "exposure_not_found": ExposureNotFound,
    "token_taken": TokenTaken,
    "sandbox_ended": SandboxEnded,
    "sandbox_not_running": SandboxEnded,
    "sandbox_paused": SandboxPaused,
    "secret_not_found": SecretNotFound,
    "preset_not_found": PresetNotFound,
    "rule_not_found": RuleNotFound,
    "private_destination": PrivateDestination,
    "secret_in_use": SecretInUse,
    "secret_host": SecretHostMismatch,
    "no_capacity": NoCapacity,
    "no_space": NoSpace,
}
_API_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Unsupported,
    500: InternalError,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_FILE_BY_CODE: dict[str, type[FileError]] = {
    "file_not_found": FileNotFound,
    "file_exists": FileExists,
    "is_a_directory": IsADirectory,
    "not_a_directory": NotADirectory,
    "permission_denied": FilePermissionDenied,
    "replacement_count": ReplacementCountMismatch,
    "disk_full": DiskFull,
}
_SERVICE_BY_CODE: dict[str, type[SandboxError]] = {
    kind.code: kind
    for kind in (
        SessionNotFound,
        SessionExists,
        SessionEnded,
        SessionDirectoryGone,
        WatchLimit,
        GitError,
        GitRepositoryNotFound,
        GitBranchNotFound,
        GitAuthenticationFailed,
        GitNetworkError,
        GitPathExists,
        GitNothingToCommit,
        GitRejected,
        GitConflict,
        GitNotARepository,
        GitTimeout,
        GitMissing,
        LogReplaced,
        ProcessExists,
        ProcessNotFound,
        WaitTimeout,
    )
}
_ENDED_CODES = ("process_ended", "process_not_running")
_RPC_CODE_BY_STATUS: dict[int, str] = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    409: "already_exists",
    413: "resource_exhausted",
    429: "resource_exhausted",
    499: "canceled",
    500: "internal",
    501: "unimplemented",
    502: "unavailable",
    503: "unavailable",
    504: "deadline_exceeded",
    507: "disk_full",
}
_MESSAGE_LIMIT = 2000


class _NativeError(msgspec.Struct):
    code: str = "error"
    message: str = ""
    hint: str | None = None
    process: BackgroundInfo | None = None


class _NativeBody(msgspec.Struct):
    error: _NativeError


class _FlatBody(msgspec.Struct):
    """The shape of Connect, of the agent's REST calls and of the edge's own answers."""

    code: str | int = ""
    message: str = ""
    sandboxId: str | None = None


def from_api(status: int, body: bytes, what: str) -> ApiError:
    """The error for a refusal of the control plane.

    Args:
        status: HTTP status.
        body: The answer's body, `{"error": {…}}` if the server is in order.
        what: The call, for an answer that says nothing itself.
    """
    try:
        error = msgspec.json.decode(body, type=_NativeBody).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = _NativeError(code=f"http_{status}", message=f"{what}: HTTP status {status}")
    kind = _API_BY_CODE.get(error.code) or _API_BY_STATUS.get(status, ApiError)
    message = error.message[:_MESSAGE_LIMIT] or f"{what}: {error.code}"
    return kind(message, status=status, code=error.code, hint=error.hint)


def from_agent(status: int, body: bytes, sandbox_id: str, path: str | None = None) -> WardianError:
    """The error for an HTTP status that the agent, or the edge in its place, answered with.

    Args:
        status: HTTP status.
        body: The answer's body.
        sandbox_id: The sandbox asked.
        path: The file the call was about, if about one.
    """
    try:
        # First: to the flat shape, of which nothing is required, all objects are alike.
        native = msgspec.json.decode(body, type=_NativeBody).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    else:
        if path is not None or native.code in _SERVICE_BY_CODE:
            return from_service(native.code, native.message, sandbox_id, path, native.hint)
        if native.code in _ENDED_CODES:
            message = native.message[:_MESSAGE_LIMIT] or native.code
            return ProcessEnded(message, sandbox_id=sandbox_id, info=native.process)
        return from_api(status, body, native.code)
    try:
        flat = msgspec.json.decode(body, type=_FlatBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        flat = _FlatBody(message=f"HTTP status {status}")
    message = flat.message[:_MESSAGE_LIMIT]
    if status == 502:
        return SandboxGone(
            f"sandbox {sandbox_id} is gone or not running: {message}", sandbox_id=sandbox_id
        )
    code = flat.code if isinstance(flat.code, str) and flat.code else ""
    return from_rpc(code or _RPC_CODE_BY_STATUS.get(status, "unknown"), message, sandbox_id, path)


def from_service(
    code: str, message: str, sandbox_id: str, path: str | None = None, hint: str | None = None
) -> SandboxError:
    """The error for a code of one of the agent's own services, in an answer or in a stream.

    Args:
        code: As the service says.
        message: What the agent said.
        sandbox_id: The sandbox asked.
        path: The file the call was about, if about one.
        hint: What to do, if the agent said it.
    """
    message = message[:_MESSAGE_LIMIT] or code
    error: SandboxError
    if code in _SERVICE_BY_CODE:
        error = _SERVICE_BY_CODE[code](message, sandbox_id=sandbox_id)
    elif path is not None:
        kind = _FILE_BY_CODE.get(code, FileError)
        error = kind(message, sandbox_id=sandbox_id, path=path, code=code)
    else:
        error = SandboxError(message, sandbox_id=sandbox_id, code=code)
    error.hint = hint
    return error


def from_rpc(code: str, message: str, sandbox_id: str, path: str | None = None) -> SandboxError:
    """The error for a Connect code.

    Args:
        code: Connect's word, such as ``not_found``.
        message: What the agent said.
        sandbox_id: The sandbox asked.
        path: The file the call was about, if about one.
    """
    message = message[:_MESSAGE_LIMIT] or code
    if path is not None:
        file_kind = {
            "not_found": FileNotFound,
            "already_exists": FileExists,
            "disk_full": DiskFull,
        }.get(code)
        if file_kind:
            return file_kind(message, sandbox_id=sandbox_id, path=path)
        if code != "unavailable":
            return FileError(message, sandbox_id=sandbox_id, path=path, code=code)
    kinds: dict[str, type[SandboxError]] = {
        "not_found": ProcessNotFound,
        "invalid_argument": InvalidArgument,
        "unauthenticated": InvalidArgument,
        "unavailable": SandboxGone,
    }
    kind = kinds.get(code)
    return (
        kind(message, sandbox_id=sandbox_id)
        if kind
        else SandboxError(message, sandbox_id=sandbox_id, code=code)
    )


def from_session(code: str, message: str, sandbox_id: str) -> SandboxError:
    """The error for a Connect code that a session's command was refused with.

    Args:
        code: Connect's word, such as ``not_found``.
        message: What the agent said, for some refusals behind a code of its own and a colon.
        sandbox_id: The sandbox asked.
    """
    own, colon, words = message.partition(": ")
    if code == "not_found":
        return from_service(SessionNotFound.code, message, sandbox_id)
    if colon and own in (SessionEnded.code, SessionDirectoryGone.code):
        return from_service(own, words, sandbox_id)
    return from_rpc(code, message, sandbox_id)
