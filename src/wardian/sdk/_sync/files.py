# Generated from _async/files.py by tools/generate_sync.py: change it there.
"""A sandbox's files."""

from __future__ import annotations

from typing import Any

from .._errors import FileNotFound
from .._files import Changed, Entry, path_field
from .._models import FileInfo
from .agent import Agent
from .file_archives import FileArchives
from .file_content import FileContent, query
from .file_tree import FileTree
from .watching import Watching


class Files(FileContent, FileTree, FileArchives, Watching):
    """Read, write and arrange the files of one sandbox.

    Paths may be absolute, relative to the user's home, or begin with `~`. A name that is no UTF-8
    is written with surrogate escapes, as `os.fsdecode` gives it. Every call takes `user`: whose
    home relative paths start in and who owns what is made, None for the sandbox's default user. It
    is no permission: these calls read and write every file, as E2B's do. A command obeys its user's
    permissions.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def stat(self, path: str, *, user: str | None = None) -> FileInfo:
        """What lies at a path; of a symbolic link itself.

        Raises:
            FileNotFound: Nothing does.
        """
        entry = self._agent.rest("GET", "files/entry", Entry, query=query(path, user), about=path)
        return entry.info()

    def exists(self, path: str, *, user: str | None = None) -> bool:
        """Whether anything lies at a path."""
        try:
            self.stat(path, user=user)
        except FileNotFound:
            return False
        return True

    def mkdir(self, path: str, *, exist_ok: bool = False, user: str | None = None) -> FileInfo:
        """Make a directory, and those above it.

        Args:
            path: The directory.
            exist_ok: Do not mind if it exists.
            user: Whose home relative paths start in, and who owns what is made.

        Raises:
            FileExists: It exists.
        """
        message = {**path_field("path", path), "exist_ok": exist_ok, "user": user}
        return self._entry("files/directory", message, path)

    def move(
        self, source: str, destination: str, *, replace: bool = True, user: str | None = None
    ) -> FileInfo:
        """Move or rename; missing directories above the destination are made.

        Args:
            source: What to move.
            destination: Its new path.
            replace: Whether a file that is there is replaced.
            user: Whose home relative paths start in, and who owns directories that are made.

        Raises:
            FileNotFound: There is nothing to move.
            FileExists: Something is there that is not replaced.
        """
        message = {
            **path_field("source", source),
            **path_field("destination", destination),
            "replace": replace,
            "user": user,
        }
        return self._entry("files/move", message, source)

    def remove(self, path: str, *, missing_ok: bool = True, user: str | None = None) -> None:
        """Remove a file, or a directory with all it holds; a link itself.

        Args:
            path: What to remove.
            missing_ok: Do not mind if there is nothing.
            user: Whose home relative paths start in.
        """
        parameters = query(path, user)
        if not missing_ok:
            parameters.append(("missing_ok", "false"))
        self._agent.rest(
            "DELETE", "files/entry", type(None), query=parameters, about=path, silence=None
        )

    def symlink(
        self, target: str, path: str, *, replace: bool = False, user: str | None = None
    ) -> FileInfo:
        """Make a symbolic link.

        Args:
            target: What the link says; need not exist.
            path: The link; missing directories above it are made.
            replace: Whether another link that is there is replaced.
            user: Whose home relative paths start in, and who owns what is made.

        Raises:
            FileExists: Something is there.
        """
        message = {
            **path_field("path", path),
            **path_field("target", target),
            "replace": replace,
            "user": user,
        }
        return self._entry("files/link", message, path)

    def chmod(
        self, path: str, mode: int | str, *, recursive: bool = False, user: str | None = None
    ) -> int:
        """Change permissions; says of how many files.

        Args:
            path: The file; a link is followed.
            mode: Permission bits, octal digits, or clauses such as `u+x,go-w` or `a+rX`.
            recursive: Also everything below it; links there are not followed.
            user: Whose home relative paths start in.
        """
        return self._change(path, {"mode": mode, "recursive": recursive, "user": user})

    def chown(
        self,
        path: str,
        owner: str | int | None = None,
        group: str | int | None = None,
        *,
        recursive: bool = False,
        user: str | None = None,
    ) -> int:
        """Give files to somebody else; says how many.

        Args:
            path: The file; a link is followed.
            owner: User's name or number; None leaves it.
            group: Group's name or number; None leaves it.
            recursive: Also everything below it; links there are given away themselves.
            user: Whose home relative paths start in.
        """
        names = {
            "owner": None if owner is None else str(owner),
            "group": None if group is None else str(group),
        }
        return self._change(path, {**names, "recursive": recursive, "user": user})

    def _change(self, path: str, changes: dict[str, Any]) -> int:
        message = {**path_field("path", path), **changes}
        reply = self._agent.rest(
            "POST", "files/attributes", Changed, message=message, about=path, silence=None
        )
        return reply.changed

    def _entry(self, call: str, message: dict[str, Any], path: str) -> FileInfo:
        entry = self._agent.rest("POST", call, Entry, message=message, about=path)
        return entry.info()
