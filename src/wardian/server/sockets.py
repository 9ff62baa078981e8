"""Listening Unix sockets that a restart finds free again."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from wardian.server.configuration import ConfigurationError

_BACKLOG = 2048


@contextmanager
def listening(path: Path) -> Generator[socket.socket]:
    """A non-blocking listener at ``path``, mode 0660; the path is removed at the end.

    Raises:
        ConfigurationError: somebody serves there already, or the directory can't be written.
    """
    if _answers(path):
        raise ConfigurationError(f"another control plane serves at {path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            # What a killed process left.
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(0o660)
        except OSError as error:
            raise ConfigurationError(
                f"can't listen at {path}: {error.strerror or error}"
            ) from error
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        inode = os.stat(path).st_ino
        try:
            yield listener
        finally:
            # Not if the next process has put its own there.
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == inode:
                    path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
