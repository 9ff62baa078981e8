"""Errors of git; their place among all is in `_errors`."""

from __future__ import annotations

from ._errors import SandboxError


class GitError(SandboxError):
    """Git failed in the sandbox; the message is git's own, without credentials."""

    code = "git_failed"


class GitRepositoryNotFound(GitError):
    """There is no repository at that address, or none the credentials may see."""

    code = "git_repository_not_found"


class GitBranchNotFound(GitError):
    """The repository has no such branch or commit."""

    code = "git_branch_not_found"


class GitAuthenticationFailed(GitError):
    """The other side wants other credentials."""

    code = "git_authentication_failed"


class GitNetworkError(GitError):
    """The other side could not be reached, or the connection broke."""

    code = "git_network"


class GitPathExists(GitError):
    """The directory to clone into exists and is not empty."""

    code = "git_path_exists"


class GitNothingToCommit(GitError):
    """Nothing has changed that could be committed."""

    code = "git_nothing_to_commit"


class GitRejected(GitError):
    """The other side has commits that are not here, or refuses the push."""

    code = "git_rejected"


class GitConflict(GitError):
    """Local changes stand in the way, or two sides changed the same lines."""

    code = "git_conflict"


class GitNotARepository(GitError):
    """The directory is in no repository."""

    code = "git_not_a_repository"


class GitTimeout(GitError):
    """Git was stopped, with all it started, because its time was up."""

    code = "git_timeout"


class GitMissing(GitError):
    """The sandbox has no git; its template has to bring it."""

    code = "git_missing"
