"""Where a node keeps layers and disks: a btrfs of the host, one in a loop file, or plain files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from wardian.server.configuration import Pool
from wardian.server.node.progress import Report
from wardian.server.node.setup_error import SetupError

GIB: Final = 1 << 30
LARGEST: Final = 64 * GIB
#: btrfs below this size mixes data and metadata and is slow.
SMALLEST: Final = 1 * GIB
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def ensure(home: Path, report: Report, before: Pool | None = None) -> Pool:
    """The pool of ``home``, made if it is not there.

    Args:
        home: the node's home.
        report: told about long steps and about a fallback.
        before: what node.json says now; a pool that holds data is never changed in kind.

    Raises:
        SetupError: the loop file could not be made.
    """
    path, image = home / "pool", home / "pool.img"
    if before is not None and (before.image is None or image.exists()):
        return before
    if image.exists():
        return Pool(path=str(path), kind="btrfs", image=str(image))
    if filesystem_of(path) == "btrfs":
        return Pool(path=str(path), kind="btrfs", image=None)
    obstacle = loop_obstacle()
    if obstacle is not None:
        report(f"warning: {obstacle}; sandboxes get plain directories: no disk limit, slow copies")
        return Pool(path=str(path), kind="plain", image=None)
    _make_image(image, image_size(home), report)
    return Pool(path=str(path), kind="btrfs", image=str(image))


def filesystem_of(path: Path) -> str:
    """The type of the file system that holds ``path``, e.g. ``ext4``; empty if unknown."""
    result = subprocess.run(
        ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip().splitlines()[-1] if result.stdout.strip() else ""


def loop_obstacle() -> str | None:
    """Why this machine can't mount a btrfs from a file, or ``None``."""
    if not _kernel_knows_btrfs():
        if shutil.which("modprobe") is not None:
            subprocess.run(["modprobe", "--quiet", "btrfs"], check=False)
        if not _kernel_knows_btrfs():
            return "this kernel has no btrfs"
    if not Path("/dev/loop-control").exists():
        if shutil.which("modprobe") is not None:
            subprocess.run(["modprobe", "--quiet", "loop"], check=False)
        if not Path("/dev/loop-control").exists():
            return "this machine has no loop devices (/dev/loop-control)"
    return None


def image_size(home: Path) -> int:
    """Bytes the pool gets: ``$WARDIAN_POOL_SIZE``, or 40 % of the free space, at most 64 GiB.

    Raises:
        SetupError: the variable is no size, or there is no room.
    """
    free = shutil.disk_usage(home).free
    wanted = os.environ.get("WARDIAN_POOL_SIZE")
    size = parse_size(wanted) if wanted else min(free * 4 // 10, LARGEST)
    size -= size % (1 << 20)
    if size < SMALLEST or size > free:
        raise SetupError(
            f"a pool of {size / GIB:.1f} GiB in {home} is not possible: {free / GIB:.1f} GiB free, "
            f"at least {SMALLEST / GIB:.0f} GiB needed",
            "make room, or set WARDIAN_POOL_SIZE or WARDIAN_HOME",
        )
    return size


def parse_size(text: str) -> int:
    """Bytes in ``text``, e.g. ``8G``, ``512MiB``, ``1073741824``.

    Raises:
        SetupError: it is no size.
    """
    match = re.fullmatch(r"(\d{1,18})\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise SetupError(f"{text!r} is not a size", "write it like WARDIAN_POOL_SIZE=32G")
    return int(match[1]) * _UNITS[match[2].upper()]


def _kernel_knows_btrfs() -> bool:
    return "\tbtrfs\n" in Path("/proc/filesystems").read_text()


def _make_image(image: Path, size: int, report: Report) -> None:
    report(f"making the disk pool {image} ({size / GIB:.0f} GiB)")
    new = image.with_suffix(".new")
    new.unlink(missing_ok=True)
    try:
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # Preallocated: a sparse file on a host that fills up loses writes already confirmed.
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
        # --nodiscard, or mkfs would punch the preallocated blocks out again.
        result = subprocess.run(
            ["mkfs.btrfs", "--quiet", "--nodiscard", "--metadata", "single", "--label",
             "wardian-pool", str(new)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if result.returncode != 0:
            raise SetupError(f"mkfs.btrfs {new} failed: {result.stderr.strip()}")
        new.rename(image)
    except OSError as error:
        raise SetupError(f"can't make {new}: {error.strerror}", "set WARDIAN_POOL_SIZE") from error
    finally:
        new.unlink(missing_ok=True)
