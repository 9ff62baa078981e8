"""Directories as tars. What comes out of a sandbox is hostile: it may only make new files below
the target, whatever names, links and kinds it holds."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO


def pack(directory: Path, archive: IO[bytes]) -> None:
    """Write what `directory` holds; owners are left out, they mean nothing elsewhere."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(directory, arcname=".", filter=anonymous)


def unpack(archive: Path, target: Path) -> Iterator[str]:
    """Unpack below `target`, which is made where missing.

    Args:
        archive: A tar that nobody vouches for.
        target: Where its content goes.

    Yields:
        What was not unpacked, and why.
    """
    target.mkdir(exist_ok=True)
    links: list[tuple[Path, str]] = []
    with tarfile.open(archive, mode="r:") as tar:
        for member in tar:
            place = _place(target, member.name)
            if place is None:
                yield f"{member.name}: leads out of the directory"
            elif member.isdir():
                place.mkdir(exist_ok=True, parents=True)
            elif member.issym():
                # Last of all: nothing that follows can then be written through a link.
                links.append((place, member.linkname))
            elif member.issparse():
                # A few bytes that claim to be terabytes.
                yield f"{member.name}: a sparse file"
            elif member.isreg() or member.islnk():
                yield from _write(tar, member, place)
            else:
                yield f"{member.name}: neither file, directory nor link"
    for place, linkname in links:
        inside = place.relative_to(target)
        parents = [target / parent for parent in inside.parents if parent.parts]
        if _escapes(inside, linkname) or any(parent.is_symlink() for parent in parents):
            yield f"{inside}: a link that may lead out of the directory"
            continue
        place.parent.mkdir(exist_ok=True, parents=True)
        if place.is_symlink() or place.is_file():
            place.unlink()
        place.symlink_to(linkname)


def _place(target: Path, name: str) -> Path | None:
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    if name.startswith("/") or ".." in parts or "\0" in name:
        return None
    return target.joinpath(*parts)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> Iterator[str]:
    try:
        # A hard link is read as the file it names, inside the same archive.
        source = tar.extractfile(member)
    except KeyError:
        source = None
    if source is None:
        yield f"{member.name}: a link to what is not there"
        return
    place.parent.mkdir(exist_ok=True, parents=True)
    if place.is_symlink():
        place.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    # No set-user-id bits, and never unreadable to whom it belongs.
    mode = (member.mode & 0o777) | 0o600
    with source, os.fdopen(os.open(place, flags, mode), "wb") as copy:
        shutil.copyfileobj(source, copy, 1024 * 1024)


def _escapes(place: Path, linkname: str) -> bool:
    """Whether a link could lead above the target: `..` may only come first, and not too often.

    After a name, `..` would go up from wherever that name, itself perhaps a link, leads.
    """
    parts = PurePosixPath(linkname).parts
    ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return linkname.startswith("/") or ".." in parts[ups:] or ups > len(place.parts) - 1
