"""What git in a sandbox says; no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ._errors import ProtocolError
from ._events import Event
from ._files import decoded


@dataclass(frozen=True, slots=True)
class GitProgress:
    """How far a clone is.

    Attributes:
        stage: In git's words, such as `Receiving objects`.
        percent: 0 to 100, within the stage.
    """

    stage: str
    percent: int


OnProgress = Callable[[GitProgress], object]


@dataclass(frozen=True, slots=True)
class GitHead:
    """Where a working tree stands.

    Attributes:
        path: Its directory.
        branch: None when no branch is checked out.
        commit: None before the first commit.
    """

    path: str
    branch: str | None
    commit: str | None


@dataclass(frozen=True, slots=True)
class GitFile:
    """A path that differs from what is committed.

    Attributes:
        path: Relative to the repository; bytes that are no UTF-8 are surrogate escapes.
        from_path: Where it was, for what was renamed or copied.
        index: One letter, git's own: `M`, `A`, `D`, `R`, `C`, `T`, `U`; `.` for unchanged, `?`
            for what git does not know.
        worktree: The same for the working tree against the index.
        conflict: Whether two sides changed it and nobody has decided.
    """

    path: str
    from_path: str | None
    index: str
    worktree: str
    conflict: bool


@dataclass(frozen=True, slots=True)
class GitStatus:
    """How a working tree differs from what is committed.

    Attributes:
        branch: None when no branch is checked out.
        commit: None before the first commit.
        upstream: The branch it follows.
        ahead: Commits that the upstream lacks.
        behind: Commits of the upstream that it lacks.
        files: What differs; untracked files are among them, ignored ones are not.
    """

    branch: str | None
    commit: str | None
    upstream: str | None
    ahead: int
    behind: int
    files: list[GitFile]

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not self.files


class GitBranch(msgspec.Struct, frozen=True):
    """A branch.

    Attributes:
        name: With the remote's name in front for one of a remote.
        commit: What it points to.
        upstream: The branch it follows.
        current: Whether it is checked out.
        remote: Whether it is one of a remote, as last fetched.
    """

    name: str
    commit: str
    upstream: str | None = None
    current: bool = False
    remote: bool = False


class GitCommit(msgspec.Struct, frozen=True):
    """A commit.

    Attributes:
        id: Its hash.
        parents: Their hashes.
        author: The author's name.
        email: The author's address.
        date: When it was written.
        subject: The first line of its message.
        body: The rest of it.
    """

    id: str
    parents: list[str]
    author: str
    email: str
    date: datetime
    subject: str
    body: str


class _FileText(msgspec.Struct):
    path: str
    index: str
    worktree: str
    conflict: bool = False
    path_b64: str | None = None
    # `from` is a word of Python's.
    origin: str | None = msgspec.field(default=None, name="from")
    origin_b64: str | None = msgspec.field(default=None, name="from_b64")


class StatusReply(msgspec.Struct):
    """The answer to `git/status`."""

    branch: str | None = None
    commit: str | None = None
    upstream: str | None = None
    ahead: int = 0
    behind: int = 0
    files: list[_FileText] = []

    def read(self) -> GitStatus:
        """The same in the words of the SDK."""
        files = [
            GitFile(
                decoded(file.path, file.path_b64),
                None if file.origin is None else decoded(file.origin, file.origin_b64),
                file.index,
                file.worktree,
                file.conflict,
            )
            for file in self.files
        ]
        return GitStatus(self.branch, self.commit, self.upstream, self.ahead, self.behind, files)


class DiffReply(msgspec.Struct):
    """The answer to `git/diff`."""

    diff: str
    diff_b64: str | None = None
    truncated: bool = False

    def read(self) -> str:
        """The text; bytes that are no UTF-8 are surrogate escapes."""
        return decoded(self.diff, self.diff_b64)


class HeadReply(msgspec.Struct):
    """The answer to calls that change what is checked out."""

    branch: str | None = None
    commit: str | None = None
    updated: bool = False
    up_to_date: bool = False


class BranchesReply(msgspec.Struct):
    """The answer to `git/branches`."""

    current: str | None = None
    branches: list[GitBranch] = []


class LogReply(msgspec.Struct):
    """The answer to `git/log`."""

    commits: list[GitCommit] = []


class _Progress(msgspec.Struct):
    stage: str
    percent: int


class _Done(msgspec.Struct):
    path: str
    path_b64: str | None = None
    branch: str | None = None
    commit: str | None = None


class CloneFailure(msgspec.Struct):
    """Why a clone failed."""

    code: str
    message: str
    hint: str | None = None


def read_event(event: Event) -> GitProgress | GitHead | CloneFailure | None:
    """What an event of a clone says.

    Raises:
        ProtocolError: It is not what it should be.
    """
    try:
        if event.name == "progress":
            at = msgspec.json.decode(event.data, type=_Progress)
            return GitProgress(at.stage, at.percent)
        if event.name == "done":
            done = msgspec.json.decode(event.data, type=_Done)
            return GitHead(decoded(done.path, done.path_b64), done.branch, done.commit)
        if event.name == "error":
            return msgspec.json.decode(event.data, type=CloneFailure)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ProtocolError(f"an event of a clone is not what it should be: {error}") from error
    return None
