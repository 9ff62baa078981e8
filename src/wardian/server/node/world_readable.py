"""Whether an unprivileged user can reach a file.

The control plane and the edge run as users of their own. A Python or a checkout below a home
directory of mode 0700 looks fine to root and can't be opened by them: the trap this module is for.
It reads mode bits only, so that it can be asked before any user exists; access lists are ignored.

Standard library only: scripts/bootstrap.py loads this file before anything is installed.
"""

from __future__ import annotations

import stat
from pathlib import Path


def first_obstacle(path: Path) -> Path | None:
    """The first file or directory on the way to ``path`` that others can't pass.

    Symbolic links are followed and every hop is checked, as the kernel does it.

    Args:
        path: absolute path of a file or directory.

    Returns:
        What is in the way, or ``None``. A missing file is in its own way.
    """
    pending = list(path.parts[1:])
    current = Path(path.anchor)
    hops = 0
    while pending:
        current = current / pending.pop(0)
        try:
            mode = current.lstat().st_mode
        except OSError:
            return current
        if stat.S_ISLNK(mode):
            hops += 1
            if hops > 40:
                return current
            target = current.parent / current.readlink()
            pending = [*_collapse(target).parts[1:], *pending]
            current = Path(path.anchor)
        elif stat.S_ISDIR(mode):
            if not mode & stat.S_IXOTH:
                return current
        elif not mode & stat.S_IROTH:
            return current
    if current.is_dir() and not current.stat().st_mode & stat.S_IROTH:
        return current
    return None


def _collapse(path: Path) -> Path:
    """Resolves ``..`` by text; right for links of package layouts, which never climb over links."""
    parts: list[str] = []
    for part in path.parts[1:]:
        if part == "..":
            del parts[-1:]
        else:
            parts.append(part)
    return Path(path.anchor, *parts)
