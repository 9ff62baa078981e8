# Generated from _async/git.py by tools/generate_sync.py: change it there.
"""Git in a sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from .._errors import SandboxGone
from .._files import path_field
from .._git import (
    BranchesReply,
    CloneFailure,
    DiffReply,
    GitBranch,
    GitCommit,
    GitHead,
    GitProgress,
    GitStatus,
    HeadReply,
    LogReply,
    OnProgress,
    StatusReply,
    read_event,
)
from .._refusals import from_service
from .agent import Agent

T = TypeVar("T")

# The agent itself stops git at the timeout; its answer is waited for a little longer.
_MARGIN = 30.0


class Git:
    """The sandbox's own git, run as its user, with typed answers and errors.

    Every call takes `user`: who runs git and whose home relative paths start in. Errors are
    `GitError`s; their message is git's own, without credentials. User names and passwords are
    handed to git for one call: they are in no argument list, log or configuration.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def clone(
        self,
        url: str,
        path: str | None = None,
        *,
        branch: str | None = None,
        depth: int | None = None,
        username: str | None = None,
        password: str | None = None,
        on_progress: OnProgress | None = None,
        timeout: float = 600,
        user: str | None = None,
    ) -> GitHead:
        """Clone a repository.

        Args:
            url: http, https, ssh, git, file, or a path in the sandbox. What user name and password
                it holds are used and kept nowhere: the clone's remote has none.
            path: The new directory; in the user's home, named as git names it, if not given.
            branch: The branch or tag to check out.
            depth: How many commits of history to fetch.
            username: For http and https.
            password: For http and https; a token, for most servers.
            on_progress: Told how far it is.
            timeout: Seconds after which git is stopped.
            user: Who runs git.

        Returns:
            Where it is and what is checked out.

        Raises:
            GitRepositoryNotFound: There is none at that address.
            GitBranchNotFound: It has no such branch.
            GitAuthenticationFailed: It wants other credentials.
            GitNetworkError: The server could not be reached.
            GitPathExists: The directory exists and is not empty.
            GitTimeout: Its time was up.
        """
        message = _message(
            path,
            user,
            timeout,
            url=url,
            branch=branch,
            depth=depth,
            username=username,
            password=password,
        )
        events = self._agent.events("POST", "git/clone", message=message)
        try:
            while received := events.receive():
                for event in received:
                    said = read_event(event)
                    if isinstance(said, GitHead):
                        return said
                    if isinstance(said, CloneFailure):
                        raise from_service(
                            said.code, said.message, self._agent.sandbox_id, hint=said.hint
                        )
                    if isinstance(said, GitProgress) and on_progress is not None:
                        on_progress(said)
        finally:
            events.close()
        raise SandboxGone("the clone was cut off", sandbox_id=self._agent.sandbox_id)

    def status(self, path: str, *, timeout: float = 600, user: str | None = None) -> GitStatus:
        """How a working tree differs from what is committed.

        Args:
            path: A directory in the repository.
            timeout: Seconds after which git is stopped.
            user: Who runs git.

        Raises:
            GitNotARepository: The directory is in none, or not there.
        """
        message = _message(path, user, timeout)
        return (self._call("status", message, StatusReply, timeout)).read()

    def diff(
        self,
        path: str,
        *,
        staged: bool = False,
        ref: str | None = None,
        paths: Sequence[str] = (),
        timeout: float = 600,
        user: str | None = None,
    ) -> str:
        """The differences, as a patch of at most 16 MiB.

        Args:
            path: A directory in the repository.
            staged: Of the index against the last commit, instead of the working tree's.
            ref: Against this commit or branch.
            paths: Only of these, relative to `path`.
            timeout: Seconds after which git is stopped.
            user: Who runs git.
        """
        message = _message(path, user, timeout, staged=staged, ref=ref, paths=list(paths))
        return (self._call("diff", message, DiffReply, timeout)).read()

    def commit(
        self,
        path: str,
        message: str,
        *,
        author: str | None = None,
        all: bool = False,
        paths: Sequence[str] = (),
        allow_empty: bool = False,
        timeout: float = 600,
        user: str | None = None,
    ) -> GitHead:
        """Commit what is staged.

        Args:
            path: A directory in the repository.
            message: The commit's message.
            author: `Name <address>`; also the committer where the user has none configured.
            all: Stage every change first, new and deleted files too.
            paths: Stage and commit these alone, relative to `path`.
            allow_empty: Even if nothing changed.
            timeout: Seconds after which git is stopped.
            user: Who runs git.

        Raises:
            GitNothingToCommit: Nothing has changed, or nothing is staged.
        """
        body = _message(
            path,
            user,
            timeout,
            message=message,
            author=author,
            all=all,
            paths=list(paths),
            allow_empty=allow_empty,
        )
        head = self._call("commit", body, HeadReply, timeout)
        return GitHead(path, head.branch, head.commit)

    def push(
        self,
        path: str,
        remote: str = "origin",
        branch: str | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        set_upstream: bool = False,
        force: bool = False,
        timeout: float = 600,
        user: str | None = None,
    ) -> bool:
        """Send a branch to another repository.

        Args:
            path: A directory in the repository.
            remote: A remote's name, or an address.
            branch: The branch; the one that is checked out, if not given.
            username: For http and https.
            password: For http and https; a token, for most servers.
            set_upstream: Let the branch follow the remote one from now on.
            force: Even if commits over there are lost.
            timeout: Seconds after which git is stopped.
            user: Who runs git.

        Returns:
            Whether there was anything to send.

        Raises:
            GitRejected: The other side has commits that are not here, or does not want these.
            GitAuthenticationFailed: It wants other credentials.
            GitNetworkError: The server could not be reached.
        """
        message = _message(
            path,
            user,
            timeout,
            remote=remote,
            branch=branch,
            username=username,
            password=password,
            set_upstream=set_upstream,
            force=force,
        )
        return not (self._call("push", message, HeadReply, timeout)).up_to_date

    def pull(
        self,
        path: str,
        remote: str = "origin",
        branch: str | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        rebase: bool = False,
        timeout: float = 600,
        user: str | None = None,
    ) -> bool:
        """Fetch a branch from another repository and bring it into the one checked out.

        Args:
            path: A directory in the repository.
            remote: A remote's name, or an address.
            branch: The branch there; the name of the one checked out, if not given.
            username: For http and https.
            password: For http and https; a token, for most servers.
            rebase: Put own commits on top; else git's configuration decides.
            timeout: Seconds after which git is stopped.
            user: Who runs git.

        Returns:
            Whether anything new came.

        Raises:
            GitConflict: Both sides changed the same, or local changes stand in the way.
            GitRejected: Both sides have commits of their own, and nobody said how to join them.
            GitAuthenticationFailed: It wants other credentials.
            GitNetworkError: The server could not be reached.
        """
        message = _message(
            path,
            user,
            timeout,
            remote=remote,
            branch=branch,
            username=username,
            password=password,
            rebase=rebase,
        )
        return (self._call("pull", message, HeadReply, timeout)).updated

    def checkout(
        self,
        path: str,
        ref: str,
        *,
        create: bool = False,
        timeout: float = 600,
        user: str | None = None,
    ) -> GitHead:
        """Check out a branch, tag or commit.

        Args:
            path: A directory in the repository.
            ref: Which.
            create: Make a new branch of that name here.
            timeout: Seconds after which git is stopped.
            user: Who runs git.

        Raises:
            GitBranchNotFound: There is none of that name.
            GitConflict: Local changes would be lost.
        """
        message = _message(path, user, timeout, ref=ref, create=create)
        head = self._call("checkout", message, HeadReply, timeout)
        return GitHead(path, head.branch, head.commit)

    def branches(
        self, path: str, *, timeout: float = 600, user: str | None = None
    ) -> list[GitBranch]:
        """The branches, those of remotes as last fetched.

        Args:
            path: A directory in the repository.
            timeout: Seconds after which git is stopped.
            user: Who runs git.
        """
        message = _message(path, user, timeout)
        return (self._call("branches", message, BranchesReply, timeout)).branches

    def log(
        self,
        path: str,
        *,
        ref: str | None = None,
        limit: int = 50,
        timeout: float = 600,
        user: str | None = None,
    ) -> list[GitCommit]:
        """The commits, the latest first.

        Args:
            path: A directory in the repository.
            ref: Of this branch, or up to this commit; of what is checked out, if not given.
            limit: How many at most.
            timeout: Seconds after which git is stopped.
            user: Who runs git.
        """
        message = _message(path, user, timeout, ref=ref, limit=limit)
        return (self._call("log", message, LogReply, timeout)).commits

    def _call(self, what: str, message: dict[str, Any], kind: type[T], timeout: float) -> T:
        return self._agent.rest(
            "POST", f"git/{what}", kind, message=message, silence=timeout + _MARGIN
        )


def _message(path: str | None, user: str | None, timeout: float, **fields: Any) -> dict[str, Any]:
    message = {} if path is None else dict[str, Any](path_field("path", path))
    message["timeout"] = timeout
    fields["user"] = user
    message.update({name: value for name, value in fields.items() if value is not None})
    return message
