"""A directory of this machine as a tar, made as it is sent."""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ._body import Progress

_CHUNK = 256 * 1024
_BLOCK = 512


def directory_at(path: str | os.PathLike[str]) -> Path:
    """A directory of this machine.

    Raises:
        NotADirectoryError: It is something else.
        FileNotFoundError: There is nothing.
    """
    directory = Path(path)
    if not stat.S_ISDIR(directory.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
    return directory


def total_size(directory: Path, exclude: Sequence[str] = ()) -> int:
    """How much content a directory holds, in bytes."""
    return sum(
        status.st_size
        for _, status in _walk(directory, _excluder(exclude))
        if stat.S_ISREG(status.st_mode)
    )


def pack(
    directory: Path, exclude: Sequence[str] = (), progress: Progress | None = None
) -> Iterator[bytes]:
    """What `directory` holds, as a tar; owners are left out, they mean nothing elsewhere.

    Args:
        directory: The directory.
        exclude: Patterns as for a shell: without a slash for names at any depth, else for paths
            from the directory on.
        progress: Told the bytes of content read so far and all there are.

    Raises:
        OSError: Something can't be read.
    """
    total = total_size(directory, exclude) if progress else 0
    done = 0
    linked: dict[tuple[int, int], str] = {}
    yield _header("./", directory.stat(), tarfile.DIRTYPE)
    for path, status in _walk(directory, _excluder(exclude)):
        name = path.relative_to(directory).as_posix()
        if stat.S_ISDIR(status.st_mode):
            yield _header(f"{name}/", status, tarfile.DIRTYPE)
        elif stat.S_ISLNK(status.st_mode):
            yield _header(name, status, tarfile.SYMTYPE, os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            key = (status.st_dev, status.st_ino)
            if status.st_nlink > 1 and key in linked:
                yield _header(name, status, tarfile.LNKTYPE, linked[key])
                continue
            if status.st_nlink > 1:
                linked[key] = name
            for piece, content in _file(path, name):
                yield piece
                done += content
                if progress and content:
                    progress(done, total)
    yield bytes(2 * _BLOCK)


def _walk(
    directory: Path, excluded: Callable[[str], bool], below: str = ""
) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(directory) as found:
        names = sorted(entry.name for entry in found)
    for name in names:
        relative = f"{below}{name}"
        if excluded(relative):
            continue
        path = directory / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            # It went away meanwhile.
            continue
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, excluded, f"{relative}/")


def _excluder(patterns: Sequence[str]) -> Callable[[str], bool]:
    names = [pattern.rstrip("/") for pattern in patterns if "/" not in pattern.rstrip("/")]
    paths = [pattern.strip("/") for pattern in patterns if "/" in pattern.rstrip("/")]

    def excluded(relative: str) -> bool:
        name = relative.rpartition("/")[2]
        return any(fnmatchcase(name, pattern) for pattern in names) or any(
            fnmatchcase(relative, pattern) for pattern in paths
        )

    return excluded


def _header(name: str, status: os.stat_result, kind: bytes, target: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    member.mode = stat.S_IMODE(status.st_mode)
    member.mtime = status.st_mtime
    member.size = status.st_size if kind == tarfile.REGTYPE else 0
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _file(path: Path, name: str) -> Iterator[tuple[bytes, int]]:
    """A file's header and content, with how much of each piece is content."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        yield _header(name, status, tarfile.REGTYPE), 0
        left = status.st_size
        while left and (piece := file.read(min(left, _CHUNK))):
            left -= len(piece)
            yield piece, len(piece)
        # One that became shorter is made up for: its size has been told.
        while left:
            piece = bytes(min(left, _CHUNK))
            left -= len(piece)
            yield piece, 0
        yield bytes(-status.st_size % _BLOCK), 0
