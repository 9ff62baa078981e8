"""What a sandbox's directories hold: listing, finding, searching, replacing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from .._errors import ProtocolError
from .._files import (
    EntryPage,
    ReplaceResult,
    SearchEnd,
    SearchMatch,
    SearchResult,
    path_field,
    with_path,
)
from .._models import FileInfo
from .agent import AsyncAgent
from .file_content import query

FileList = list[FileInfo]
_PAGE = 20_000


class AsyncFileTree:
    """Looks through the directories of one sandbox."""

    def __init__(self, agent: AsyncAgent) -> None:
        self._agent = agent

    async def list(
        self,
        path: str = "",
        depth: int = 1,
        *,
        recursive: bool = False,
        glob: str | None = None,
        type: str | Sequence[str] | None = None,
        hidden: bool = True,
        user: str | None = None,
    ) -> FileList:
        """What a directory holds, each directory followed by what is in it.

        Args:
            path: The directory; empty is the default working directory.
            depth: How many levels to descend; 1 is the directory alone.
            recursive: Descend all the way. Links are not followed, and what shows the kernel
                (/proc, /sys) is not entered from above.
            glob: Only what matches: a pattern without a slash stands for names at any depth, one
                with it for paths from the directory on.
            type: Only entries of this kind, or these: `file`, `directory`, `symlink`, `fifo`,
                `socket`, `block`, `char`.
            hidden: Whether names that begin with a dot count.
            user: Whose home relative paths start in.

        Raises:
            FileNotFound: There is no such directory.
            NotADirectory: It is something else.
        """
        found: FileList = []
        async for entry in self.scan(
            path,
            depth,
            recursive=recursive,
            glob=glob,
            type=type,
            hidden=hidden,
            user=user,
        ):
            found.append(entry)
        return found

    async def scan(
        self,
        path: str = "",
        depth: int = 1,
        *,
        recursive: bool = False,
        glob: str | None = None,
        type: str | Sequence[str] | None = None,
        hidden: bool = True,
        page: int = _PAGE,
        user: str | None = None,
    ) -> AsyncIterator[FileInfo]:
        """What `list` gives, one by one: for trees too large to hold in memory.

        Args:
            path: The directory; empty is the default working directory.
            depth: How many levels to descend.
            recursive: Descend all the way.
            glob: Only what matches.
            type: Only entries of this kind, or these.
            hidden: Whether names that begin with a dot count.
            page: How many are asked for at once.
            user: Whose home relative paths start in.
        """
        if depth < 1:
            raise ValueError("depth is at least 1")
        parameters = _filters(path, type, hidden, page, user)
        parameters.append(("recursive", "true") if recursive else ("depth", str(depth)))
        if glob is not None:
            parameters.append(("glob", glob))
        async for entry in self._pages("files/list", path, parameters):
            yield entry

    async def glob(
        self,
        pattern: str,
        path: str = "",
        *,
        type: str | Sequence[str] | None = None,
        hidden: bool = True,
        user: str | None = None,
    ) -> FileList:
        """What matches a pattern: `*.py` in the directory itself, `**/*.py` at any depth.

        Args:
            pattern: `*` and `?` stay within a name, `**` spans directories, `{a,b}` is either,
                `[a-z]` one of a set.
            path: Where the pattern starts; empty is the default working directory.
            type: Only entries of this kind, or these.
            hidden: Whether names that begin with a dot count.
            user: Whose home relative paths start in.
        """
        parameters = [*_filters(path, type, hidden, _PAGE, user), ("pattern", pattern)]
        found: FileList = []
        async for entry in self._pages("files/glob", path, parameters):
            found.append(entry)
        return found

    async def _pages(
        self, call: str, path: str, parameters: list[tuple[str, str]]
    ) -> AsyncIterator[FileInfo]:
        cursor: str | None = ""
        while cursor is not None:
            more = [("cursor", cursor)] if cursor else []
            page = await self._agent.rest(
                "GET",
                call,
                EntryPage,
                query=[*parameters, *more],
                about=path,
                silence=None,
                limit=1024 * 1024 * 1024,
            )
            for entry in page.entries:
                yield entry.info()
            cursor = page.next_cursor

    async def search(
        self,
        pattern: str,
        path: str = "",
        *,
        regex: bool = False,
        ignore_case: bool = False,
        context: int = 0,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        gitignore: bool = False,
        hidden: bool = True,
        limit: int = 1000,
        user: str | None = None,
    ) -> SearchResult:
        """Lines that hold a text, in a file or in all files below a directory.

        Files that are no text (they hold a zero byte) are left out.

        Args:
            pattern: What to look for.
            path: The file or directory; empty is the default working directory.
            regex: Whether the pattern is a regular expression (Rust's, much like Python's, without
                look-around and back references).
            ignore_case: Whether upper and lower case are the same.
            context: How many lines before and behind each match to tell.
            include: Only files that match one of these globs (as for `list`).
            exclude: No files and directories that match one of these.
            gitignore: Whether to leave out what `.gitignore` files name, and `.git`.
            hidden: Whether names that begin with a dot count.
            limit: How many matching lines at most.
            user: Whose home relative paths start in.
        """
        message = {
            **path_field("path", path),
            "pattern": pattern,
            "regex": regex,
            "ignore_case": ignore_case,
            "context": context,
            "include": list(include),
            "exclude": list(exclude),
            "gitignore": gitignore,
            "hidden": hidden,
            "limit": limit,
            "user": user,
        }
        matches: list[SearchMatch] = []
        stream = await self._agent.events("POST", "files/search", message=message, about=path)
        try:
            while events := await stream.receive():
                for event in events:
                    if event.name == "match":
                        match = msgspec.json.decode(event.data, type=SearchMatch)
                        matches.append(with_path(match))
                    elif event.name == "done":
                        return msgspec.json.decode(event.data, type=SearchEnd).result(matches)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(
                f"the search answered with something unexpected: {error}"
            ) from error
        finally:
            stream.close()
        raise ProtocolError("the search was cut off")

    async def replace(
        self,
        pattern: str,
        replacement: str,
        path: str = "",
        *,
        regex: bool = False,
        ignore_case: bool = False,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        gitignore: bool = False,
        hidden: bool = True,
        dry_run: bool = False,
        expected: int | None = None,
        user: str | None = None,
    ) -> ReplaceResult:
        """Replace a text, in a file or in all files below a directory, each in one step.

        Args:
            pattern: What to look for; it may span lines.
            replacement: What to put there; with `regex`, `$1` and `${name}` are its groups and
                `$$` is a dollar sign.
            path: The file or directory; empty is the default working directory.
            regex: Whether the pattern is a regular expression, in which `^` and `$` are the ends
                of lines.
            ignore_case: Whether upper and lower case are the same.
            include: Only files that match one of these globs (as for `list`).
            exclude: No files and directories that match one of these.
            gitignore: Whether to leave out what `.gitignore` files name, and `.git`.
            hidden: Whether names that begin with a dot count.
            dry_run: Only say what would be replaced.
            expected: How many replacements there must be; else nothing is changed.
            user: Whose home relative paths start in.

        Raises:
            ReplacementCountMismatch: It is found more or less often than expected.
        """
        message = {
            **path_field("path", path),
            "pattern": pattern,
            "replacement": replacement,
            "regex": regex,
            "ignore_case": ignore_case,
            "include": list(include),
            "exclude": list(exclude),
            "gitignore": gitignore,
            "hidden": hidden,
            "dry_run": dry_run,
            "expected": expected,
            "user": user,
        }
        result = await self._agent.rest(
            "POST", "files/replace", ReplaceResult, message=message, about=path, silence=None
        )
        return msgspec.structs.replace(
            result,
            files=[with_path(file) for file in result.files],
            skipped=[with_path(file) for file in result.skipped],
        )


def _filters(
    path: str, type: str | Sequence[str] | None, hidden: bool, page: int, user: str | None
) -> list[tuple[str, str]]:
    kinds = [type] if isinstance(type, str) else list(type or ())
    return [
        *query(path, user),
        *(("type", kind) for kind in kinds),
        ("hidden", "true" if hidden else "false"),
        ("limit", str(page)),
    ]
