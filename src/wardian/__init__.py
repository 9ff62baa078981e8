"""Computers for AI agents: isolated, persistent Linux sandboxes on hardware of your own.

>>> from wardian import Sandbox
>>> with Sandbox.create() as sandbox:  # doctest: +SKIP
...     print(sandbox.run("python3 --version").stdout)

`AsyncSandbox` is the same for asyncio. All errors derive from `WardianError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sdk._async.api import AsyncClient
    from .sdk._async.background import AsyncBackgroundProcess
    from .sdk._async.egress import AsyncSandboxEgress
    from .sdk._async.egress_events import AsyncEgressEvents
    from .sdk._async.files import AsyncFiles
    from .sdk._async.git import AsyncGit
    from .sdk._async.previews import AsyncExposure
    from .sdk._async.processes import AsyncProcess
    from .sdk._async.sandbox import AsyncSandbox
    from .sdk._async.secrets import AsyncSecrets
    from .sdk._async.sessions import AsyncSession
    from .sdk._async.terminals import AsyncTerminal
    from .sdk._async.watching import AsyncWatch
    from .sdk._background import BackgroundInfo, LogMatch, LogRecord, ProcessLog
    from .sdk._credentials import Basic, Header, Query, Secret, SigV4
    from .sdk._egress import Egress
    from .sdk._egress_answers import (
        EgressEvent,
        EgressPolicy,
        EgressPreset,
        Explanation,
        SecretInfo,
    )
    from .sdk._egress_errors import (
        PresetNotFound,
        PrivateDestination,
        RuleNotFound,
        SecretHostMismatch,
        SecretInUse,
        SecretNotFound,
    )
    from .sdk._egress_rules import EgressRule, Handler
    from .sdk._errors import (
        ApiError,
        AuthenticationError,
        CommandFailed,
        CommandNotStarted,
        CommandTimeout,
        ConfigurationError,
        Conflict,
        ConnectionFailed,
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
        ProtocolError,
        ReplacementCountMismatch,
        RequestTimeout,
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
    from .sdk._files import ReplaceResult, SearchMatch, SearchResult, TransferReport
    from .sdk._git import GitBranch, GitCommit, GitFile, GitHead, GitProgress, GitStatus
    from .sdk._git_errors import (
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
    from .sdk._models import ApiKey, FileInfo, FileType, Limits, SandboxInfo, Template, Usage
    from .sdk._preview_errors import ExposureNotFound, SandboxEnded, SandboxPaused, TokenTaken
    from .sdk._previews import ExposureInfo, SignedUrl, Ticket
    from .sdk._process import Chunk, CommandResult, ProcessInfo
    from .sdk._session import SessionInfo
    from .sdk._session_errors import (
        SessionDirectoryGone,
        SessionEnded,
        SessionError,
        SessionExists,
        SessionNotFound,
        SessionNotKept,
    )
    from .sdk._sync.api import Client
    from .sdk._sync.background import BackgroundProcess
    from .sdk._sync.egress import SandboxEgress
    from .sdk._sync.egress_events import EgressEvents
    from .sdk._sync.files import Files
    from .sdk._sync.git import Git
    from .sdk._sync.previews import Exposure
    from .sdk._sync.processes import Process
    from .sdk._sync.sandbox import Sandbox
    from .sdk._sync.secrets import Secrets
    from .sdk._sync.sessions import Session
    from .sdk._sync.terminals import Terminal
    from .sdk._sync.watching import Watch
    from .sdk._terminal import TerminalInfo
    from .sdk._watching import Change, Changes

__all__ = [
    "ApiError",
    "ApiKey",
    "AsyncBackgroundProcess",
    "AsyncClient",
    "AsyncEgressEvents",
    "AsyncExposure",
    "AsyncFiles",
    "AsyncGit",
    "AsyncProcess",
    "AsyncSandbox",
    "AsyncSandboxEgress",
    "AsyncSecrets",
    "AsyncSession",
    "AsyncTerminal",
    "AsyncWatch",
    "AuthenticationError",
    "BackgroundInfo",
    "BackgroundProcess",
    "Basic",
    "Change",
    "Changes",
    "Chunk",
    "Client",
    "CommandFailed",
    "CommandNotStarted",
    "CommandResult",
    "CommandTimeout",
    "ConfigurationError",
    "Conflict",
    "ConnectionFailed",
    "DiskFull",
    "Egress",
    "EgressEvent",
    "EgressEvents",
    "EgressPolicy",
    "EgressPreset",
    "EgressRule",
    "Explanation",
    "Exposure",
    "ExposureInfo",
    "ExposureNotFound",
    "FileError",
    "FileExists",
    "FileInfo",
    "FileNotFound",
    "FilePermissionDenied",
    "FileType",
    "Files",
    "Git",
    "GitAuthenticationFailed",
    "GitBranch",
    "GitBranchNotFound",
    "GitCommit",
    "GitConflict",
    "GitError",
    "GitFile",
    "GitHead",
    "GitMissing",
    "GitNetworkError",
    "GitNotARepository",
    "GitNothingToCommit",
    "GitPathExists",
    "GitProgress",
    "GitRejected",
    "GitRepositoryNotFound",
    "GitStatus",
    "GitTimeout",
    "Handler",
    "Header",
    "InternalError",
    "InvalidArgument",
    "InvalidRequest",
    "IsADirectory",
    "KeyNotFound",
    "Limits",
    "LogMatch",
    "LogRecord",
    "LogReplaced",
    "NameTaken",
    "NoCapacity",
    "NoSpace",
    "NotADirectory",
    "NotFound",
    "PermissionDenied",
    "PresetNotFound",
    "PrivateDestination",
    "Process",
    "ProcessEnded",
    "ProcessExists",
    "ProcessInfo",
    "ProcessLog",
    "ProcessNotFound",
    "ProtocolError",
    "Query",
    "ReplaceResult",
    "ReplacementCountMismatch",
    "RequestTimeout",
    "RuleNotFound",
    "Sandbox",
    "SandboxEgress",
    "SandboxEnded",
    "SandboxError",
    "SandboxGone",
    "SandboxInfo",
    "SandboxNotFound",
    "SandboxPaused",
    "SearchMatch",
    "SearchResult",
    "Secret",
    "SecretHostMismatch",
    "SecretInUse",
    "SecretInfo",
    "SecretNotFound",
    "Secrets",
    "Session",
    "SessionDirectoryGone",
    "SessionEnded",
    "SessionError",
    "SessionExists",
    "SessionInfo",
    "SessionNotFound",
    "SessionNotKept",
    "SigV4",
    "SignedUrl",
    "Template",
    "TemplateInUse",
    "TemplateNotFound",
    "Terminal",
    "TerminalExists",
    "TerminalInfo",
    "TerminalNotFound",
    "Ticket",
    "TokenTaken",
    "TooLarge",
    "TransferReport",
    "Unavailable",
    "Unsupported",
    "Usage",
    "WaitTimeout",
    "WardianError",
    "Watch",
    "WatchLimit",
]

# Imported on first use: the server and the command line need the package, not the SDK.
_HOMES = {
    "_async.egress": ("AsyncSandboxEgress",),
    "_async.egress_events": ("AsyncEgressEvents",),
    "_async.secrets": ("AsyncSecrets",),
    "_credentials": ("Basic", "Header", "Query", "Secret", "SigV4"),
    "_egress": ("Egress",),
    "_egress_answers": ("EgressEvent", "EgressPolicy", "EgressPreset", "Explanation", "SecretInfo"),
    "_egress_errors": (
        "PresetNotFound",
        "PrivateDestination",
        "RuleNotFound",
        "SecretHostMismatch",
        "SecretInUse",
        "SecretNotFound",
    ),
    "_egress_rules": ("EgressRule", "Handler"),
    "_sync.egress": ("SandboxEgress",),
    "_sync.egress_events": ("EgressEvents",),
    "_sync.secrets": ("Secrets",),
    "_async.api": ("AsyncClient",),
    "_async.background": ("AsyncBackgroundProcess",),
    "_async.files": ("AsyncFiles",),
    "_async.previews": ("AsyncExposure",),
    "_async.processes": ("AsyncProcess",),
    "_async.sandbox": ("AsyncSandbox",),
    "_async.git": ("AsyncGit",),
    "_async.sessions": ("AsyncSession",),
    "_async.watching": ("AsyncWatch",),
    "_git": ("GitBranch", "GitCommit", "GitFile", "GitHead", "GitProgress", "GitStatus"),
    "_async.terminals": ("AsyncTerminal",),
    "_sync.api": ("Client",),
    "_sync.git": ("Git",),
    "_sync.watching": ("Watch",),
    "_watching": ("Change", "Changes"),
    "_sync.background": ("BackgroundProcess",),
    "_sync.files": ("Files",),
    "_sync.previews": ("Exposure",),
    "_sync.processes": ("Process",),
    "_sync.sandbox": ("Sandbox",),
    "_files": ("ReplaceResult", "SearchMatch", "SearchResult", "TransferReport"),
    "_session": ("SessionInfo",),
    "_git_errors": (
        "GitAuthenticationFailed",
        "GitBranchNotFound",
        "GitConflict",
        "GitError",
        "GitMissing",
        "GitNetworkError",
        "GitNotARepository",
        "GitNothingToCommit",
        "GitPathExists",
        "GitRejected",
        "GitRepositoryNotFound",
        "GitTimeout",
    ),
    "_session_errors": (
        "SessionDirectoryGone",
        "SessionEnded",
        "SessionError",
        "SessionExists",
        "SessionNotFound",
        "SessionNotKept",
    ),
    "_sync.sessions": ("Session",),
    "_sync.terminals": ("Terminal",),
    "_background": ("BackgroundInfo", "LogMatch", "LogRecord", "ProcessLog"),
    "_models": ("ApiKey", "FileInfo", "FileType", "Limits", "SandboxInfo", "Template", "Usage"),
    "_preview_errors": ("ExposureNotFound", "SandboxEnded", "SandboxPaused", "TokenTaken"),
    "_previews": ("ExposureInfo", "SignedUrl", "Ticket"),
    "_process": ("Chunk", "CommandResult", "ProcessInfo"),
    "_terminal": ("TerminalInfo",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'wardian' has no attribute {name!r}")
    module = importlib.import_module(f".sdk.{_HOME_OF.get(name, '_errors')}", __name__)
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
