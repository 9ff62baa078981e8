"""The directories of a node, with the owners and modes docs/node-protocols.md gives them."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wardian.server.node.setup_error import SetupError
from wardian.server.node.world_readable import first_obstacle

if TYPE_CHECKING:
    from collections.abc import Generator

    from wardian.server.node.accounts import Accounts

DEFAULT_HOME: Final = Path("/var/lib/wardian")
RUN_ROOT: Final = Path("/run/wardian")


def default_home() -> Path:
    """``$WARDIAN_HOME``, or ``/var/lib/wardian``."""
    return Path(os.environ.get("WARDIAN_HOME") or DEFAULT_HOME).absolute()


def instance_of(home: Path) -> str:
    """Tells the node of ``home`` from others on this machine: 8 hexadecimal digits."""
    return hashlib.sha256(str(home).encode()).hexdigest()[:8]


def run_directory(home: Path) -> Path:
    """Where the node of ``home`` keeps what a reboot takes away."""
    return RUN_ROOT / instance_of(home)


def handlers_state(home: Path) -> Path:
    """Where the operator's egress handlers may keep something."""
    return home / "handlers"


def ensure_directories(home: Path, accounts: Accounts) -> None:
    """Makes every directory of the node, and mends owners and modes of those that are there.

    Raises:
        SetupError: a parent can't be passed by the control plane's user, or a path is no directory.
    """
    run = run_directory(home)
    control, gid = accounts.control_uid, accounts.gid
    _ensure(home, 0o755, 0, 0, parents=True)
    obstacle = first_obstacle(home)
    if obstacle is not None:
        raise SetupError(
            f"{home} can't be reached by the user wardian because of {obstacle}",
            "choose another WARDIAN_HOME, such as a directory below /var/lib",
        )
    _ensure(home / "control", 0o700, control, gid)
    _ensure(home / "seed", 0o755, 0, 0)
    _ensure(handlers_state(home), 0o700, accounts.handlers_uid, accounts.handlers_gid)
    _ensure(home / "pool", 0o700, 0, 0)
    _ensure(RUN_ROOT, 0o755, 0, 0, parents=True)
    _ensure(run, 0o750, 0, gid)
    _ensure(run / "control", 0o750, control, gid)
    _ensure(run / "launcher", 0o700, 0, 0)
    _ensure(run / "handlers", 0o750, 0, gid)


def ensure_handlers(path: Path) -> None:
    """Makes the directory of the operator's egress handlers where it is missing.

    Raises:
        SetupError: it can't be made, or the handlers' user can't pass there.
    """
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"can't make directory {path}: {error.strerror}") from error
    obstacle = first_obstacle(path)
    if obstacle is not None:
        raise SetupError(
            f"{path} can't be read by the user wardian-handlers because of {obstacle}",
            "choose another directory with --handlers, such as /etc/wardian/handlers",
        )


def ensure_first_key(home: Path, accounts: Accounts) -> Path:
    """Makes the first API key if there is none, and leaves its hash for the control plane.

    Returns:
        Where the key lies, readable by root alone.
    """
    path = home / "api-key"
    try:
        key = path.read_text().strip()
    except FileNotFoundError:
        key = f"e2b_{secrets.token_hex(20)}"
        _write_below(home, "api-key", f"{key}\n", 0o600, 0, 0)
    digest = hashlib.sha256(key.encode()).hexdigest()
    _write_below(
        home / "control", "first-key.sha256", f"{digest}\n",
        0o400, accounts.control_uid, accounts.gid,
    )  # fmt: skip
    return path


def write_public(directory: Path, name: str, text: str) -> Path:
    """Writes a file of root's that everybody may read, whole or not at all."""
    _write_below(directory, name, text, 0o644, 0, 0)
    return directory / name


def _ensure(path: Path, mode: int, uid: int, gid: int, *, parents: bool = False) -> None:
    try:
        path.mkdir(parents=parents, exist_ok=True)
        with _opened(path) as descriptor:
            found = os.fstat(descriptor)
            if (found.st_uid, found.st_gid) != (uid, gid):
                os.fchown(descriptor, uid, gid)
            if found.st_mode & 0o7777 != mode:
                os.fchmod(descriptor, mode)
    except OSError as error:
        raise SetupError(f"can't make directory {path}: {error.strerror}") from error


@contextmanager
def _opened(directory: Path) -> Generator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_below(directory: Path, name: str, text: str, mode: int, uid: int, gid: int) -> None:
    """Replaces ``directory/name`` atomically.

    ``control/`` belongs to the control plane: a link it might have put there is not followed,
    because the file is made anew by its directory's descriptor and then renamed over.
    """
    temporary = f".{name}.{secrets.token_hex(8)}"
    with _opened(directory) as parent:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o600, dir_fd=parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fchown(file.fileno(), uid, gid)
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError:
            os.unlink(temporary, dir_fd=parent)
            raise
