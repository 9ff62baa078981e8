"""Unpacking what comes out of a sandbox on this machine. It is hostile: it may only make new files
below the target, whatever names, links and kinds it holds, and whatever lies there already.

Every path is opened part by part from the target's descriptor, through no link; what is there is
never written to, only replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from types import TracebackType

from ._errors import ConfigurationError
from ._files import Skipped, TransferReport
from ._tarstream import Content, Event, Member

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_NAMED = 100
_LONGEST_NAME = 255


class LimitExceeded(Exception):
    """A directory is larger than the caller takes."""


class DirectoryWriter:
    """Makes an archive's members below a directory of this machine.

    Args:
        target: The directory; made where missing. A link in its own path is followed: that is the
            caller's.
        max_bytes: How large all files may be together, holes included; None is no limit.
        max_entries: How many members there may be; None is no limit.

    Raises:
        ConfigurationError: This system can't open files relative to a directory.
    """

    def __init__(
        self, target: Path, *, max_bytes: int | None = None, max_entries: int | None = None
    ) -> None:
        if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
            raise ConfigurationError("directories can't be copied safely on this system")
        target.mkdir(parents=True, exist_ok=True)
        self._top = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        self._last: tuple[tuple[bytes, ...], int] | None = None
        self._file: int | None = None
        self._member: Member | None = None
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._skipped: list[Skipped] = []
        self._counts = {"files": 0, "directories": 0, "links": 0, "bytes": 0, "skipped": 0}
        self._claimed = 0

    @property
    def written(self) -> int:
        """Bytes of content so far."""
        return self._counts["bytes"]

    def report(self) -> TransferReport:
        """What was made."""
        counts = self._counts
        return TransferReport(
            files=counts["files"],
            directories=counts["directories"],
            links=counts["links"],
            bytes=counts["bytes"],
            skipped=self._skipped,
            skipped_count=counts["skipped"],
        )

    def take(self, event: Event) -> None:
        """Do what one event says.

        Raises:
            LimitExceeded: The archive holds more than the caller takes.
            OSError: This machine's disk is full, or the target may not be written.
        """
        if isinstance(event, Member):
            self._limit(event)
            try:
                self._begin(event)
            except (FileExistsError, IsADirectoryError, NotADirectoryError, _InTheWay) as error:
                self._skip(event, f"something else is in its place: {error}")
        elif isinstance(event, Content):
            if self._file is not None:
                data, offset = event.data, event.offset
                while data:
                    count = os.pwrite(self._file, data, offset)
                    data, offset = data[count:], offset + count
                self._counts["bytes"] += len(event.data)
        else:
            self._end()

    def _limit(self, member: Member) -> None:
        counts = self._counts
        made = sum(counts[name] for name in ("files", "directories", "links", "skipped"))
        if self._max_entries is not None and made >= self._max_entries:
            raise LimitExceeded(f"there are more than {self._max_entries} entries")
        self._claimed += member.size if member.kind == "file" else 0
        if self._max_bytes is not None and self._claimed > self._max_bytes:
            raise LimitExceeded(f"there are more than {self._max_bytes} bytes")

    def _begin(self, member: Member) -> None:
        parts = _parts(member.path)
        if parts is None:
            return self._skip(member, "its name leads out of the directory")
        if member.kind == "directory":
            self._counts["directories"] += 1
            if parts:
                directory = self._directory(parts)
                os.fchmod(directory, (member.mode & 0o777) | 0o700)
        elif not parts:
            self._skip(member, "it has no name")
        elif member.kind == "file":
            self._file = self._create(parts)
            self._member = member
        elif member.kind == "symlink":
            if not _stays_inside(parts, member.target):
                return self._skip(member, "a link that may lead out of the directory")
            name = self._place(parts)
            os.symlink(member.target, name, dir_fd=self._directory(parts[:-1]))
            self._counts["links"] += 1
        elif member.kind == "hardlink":
            self._hard_link(member, parts)
        else:
            self._skip(member, "neither file, directory nor link")

    def _hard_link(self, member: Member, parts: tuple[bytes, ...]) -> None:
        source = _parts(member.target)
        if not source or source == parts:
            return self._skip(member, "a link that may lead out of the directory")
        try:
            above = os.dup(self._directory(source[:-1], make=False))
            try:
                self._link(member, parts, source[-1], above)
            finally:
                os.close(above)
        except FileNotFoundError:
            self._skip(member, "a link to what is not there")

    def _link(self, member: Member, parts: tuple[bytes, ...], source: bytes, above: int) -> None:
        status = os.stat(source, dir_fd=above, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return self._skip(member, "a link to what is no file")
        name = self._place(parts)
        directory = self._directory(parts[:-1])
        os.link(source, name, src_dir_fd=above, dst_dir_fd=directory, follow_symlinks=False)
        self._counts["links"] += 1

    def _end(self) -> None:
        file, self._file = self._file, None
        member, self._member = self._member, None
        if file is None or member is None:
            return
        try:
            if os.fstat(file).st_size < member.size:
                os.ftruncate(file, member.size)
            # No set-id bits, and never unreadable to whom it belongs.
            os.fchmod(file, (member.mode & 0o777) | 0o600)
            os.utime(file, (member.modified, member.modified))
            self._counts["files"] += 1
        finally:
            os.close(file)

    def _create(self, parts: tuple[bytes, ...]) -> int:
        name = self._place(parts)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.open(name, flags, 0o600, dir_fd=self._directory(parts[:-1]))

    def _place(self, parts: tuple[bytes, ...]) -> bytes:
        """The last part of a path, where nothing lies any more."""
        directory = self._directory(parts[:-1])
        try:
            os.unlink(parts[-1], dir_fd=directory)
        except FileNotFoundError:
            pass
        except PermissionError as error:
            # What unlinking a directory gives on some systems.
            raise _InTheWay(error.strerror) from error
        return parts[-1]

    def _directory(self, parts: tuple[bytes, ...], make: bool = True) -> int:
        """The descriptor of a directory below the target, valid until the next call."""
        if not parts:
            return self._top
        if self._last is not None and self._last[0] == parts:
            return self._last[1]
        at = os.dup(self._top)
        for part in parts:
            try:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=at)
                below = os.open(part, _DIRECTORY, dir_fd=at)
            except (NotADirectoryError, PermissionError) as error:
                raise _InTheWay(error.strerror) from error
            except OSError as error:
                # What opening a link says.
                if error.errno not in (errno.ELOOP, errno.EMLINK):
                    raise
                raise _InTheWay(error.strerror) from error
            finally:
                os.close(at)
            at = below
        if self._last is not None:
            os.close(self._last[1])
        self._last = (parts, at)
        return at

    def _skip(self, member: Member, message: str) -> None:
        self._counts["skipped"] += 1
        if len(self._skipped) < _NAMED:
            path = member.path.decode("utf-8", "surrogateescape")
            self._skipped.append(Skipped(path, message))

    def close(self) -> None:
        """Let go of all descriptors; a file that did not come whole is removed."""
        if self._file is not None and self._member is not None:
            os.close(self._file)
            parts = _parts(self._member.path)
            if parts:
                self._place(parts)
            self._file = None
        for descriptor in (self._top, self._last[1] if self._last else None):
            if descriptor is not None:
                os.close(descriptor)

    def __enter__(self) -> DirectoryWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _InTheWay(Exception):
    """Something lies where a directory or a file should go."""


def _parts(path: bytes) -> tuple[bytes, ...] | None:
    """The parts of a path below the target; None for one that leads elsewhere."""
    parts = tuple(part for part in path.split(b"/") if part not in (b"", b"."))
    long = any(len(part) > _LONGEST_NAME for part in parts)
    if path.startswith(b"/") or b".." in parts or b"\0" in path or long:
        return None
    return parts


def _stays_inside(place: tuple[bytes, ...], target: bytes) -> bool:
    """Whether a link stays below the target: `..` may only come first, and not too often.

    After a name, `..` would go up from wherever that name, itself perhaps a link, leads.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return False
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    ups = next((n for n, part in enumerate(parts) if part != b".."), len(parts))
    return b".." not in parts[ups:] and ups < max(1, len(place))
