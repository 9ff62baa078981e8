"""Tries what every sandbox's disk needs: an overlay on a layer whose owners are shifted.

A program of its own, because it leaves the mount namespace for good::

    python -m wardian.server.node.doctor.overlay_probe DIRECTORY

Exit status 0: it works; 1: it does not, the reason is on standard output. Kernel versions say
little here: it depends on the file system too, and vendors move features between versions.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_UID_BASE: Final = 2_000_000_000
_CLONE_NEWNS: Final = 0x20000
_CLONE_NEWUSER: Final = 0x10000000
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000
# The same numbers on every architecture: these calls are newer than the unified table.
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_MOUNT_SETATTR: Final = 442
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_MOUNT_ATTR_IDMAP: Final = 0x100000


class _MountAttributes(ctypes.Structure):
    _fields_ = [
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    ]


def _check(result: int, what: str) -> int:
    if result < 0:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _user_namespace() -> tuple[int, int]:
    """A process that waits in a user namespace with shifted ids, and that namespace."""
    ready_reader, ready = os.pipe()
    child = os.fork()
    if child == 0:
        failed = _LIBC.unshare(_CLONE_NEWUSER)
        os.write(ready, b"no" if failed else b"ok")
        signal.pause()
        os._exit(0)
    if os.read(ready_reader, 2) != b"ok":
        raise OSError("unshare a user namespace: not permitted")
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(f"0 {_UID_BASE} 65536\n")
    return child, os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def _shift(lower: Path, target: Path, namespace: int) -> None:
    tree = _check(
        _LIBC.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(lower), _OPEN_TREE_CLONE), "open_tree"
    )
    attributes = _MountAttributes(_MOUNT_ATTR_IDMAP, 0, 0, namespace)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _check(
        _LIBC.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size),
        "idmapped mount",
    )
    moved = _LIBC.syscall(
        _MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH
    )
    _check(moved, "move_mount")


def probe(directory: Path) -> None:
    """Builds the overlay below ``directory`` and looks at a file's owner in it.

    Raises:
        OSError: a step failed, or the owner was not shifted.
    """
    _check(_LIBC.unshare(_CLONE_NEWNS), "unshare a mount namespace")
    _check(_LIBC.mount(b"none", b"/", None, _MS_REC_PRIVATE, None), "make mounts private")
    names = ("lower", "shifted", "upper", "work", "merged")
    lower, shifted, upper, work, merged = (directory / name for name in names)
    for path in (lower, shifted, upper, work, merged):
        path.mkdir()
    (lower / "file").touch()
    child, namespace = _user_namespace()
    try:
        _shift(lower, shifted, namespace)
        options = f"lowerdir={shifted},upperdir={upper},workdir={work}"
        _check(
            _LIBC.mount(b"overlay", os.fsencode(merged), b"overlay", 0, options.encode()),
            "overlay on an idmapped layer",
        )
        if (merged / "file").stat().st_uid != _UID_BASE:
            raise OSError("overlay on an idmapped layer: owners are not shifted")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    try:
        probe(Path(sys.argv[1]))
    except OSError as error:
        print(error)
        sys.exit(1)
