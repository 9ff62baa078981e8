"""What of a node is on this machine: storage, users, programs, templates, port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import sys
from pathlib import Path
from typing import Final

from wardian.server import configuration
from wardian.server.node import accounts, binaries, home, packages, pool_image
from wardian.server.node.doctor.findings import Finding, State
from wardian.server.node.setup import DEFAULT_LISTEN
from wardian.server.node.setup_error import SetupError
from wardian.server.node.world_readable import first_obstacle
from wardian.server.templates import builder, recipe

_LEAST_FREE: Final = 4 << 30
_SETUP: Final = "sudo wardian serve (it sets up what is missing), or make setup in a checkout"


def examine(where: Path) -> list[Finding]:
    """Looks at the node of ``where``, whether it was set up or not."""
    return [
        _storage(where),
        _space(where),
        _packages(),
        _users(),
        _python(),
        _binaries(),
        _template(),
        _port(where),
    ]


def _packages() -> Finding:
    try:
        absent = packages.missing(packages.NODE)
    except SetupError as error:
        return Finding("node", "system packages", State.WARNING, error.message, mend=error.hint)
    if not absent:
        return Finding("node", "system packages", State.OK, "all there")
    return Finding(
        "node", "system packages", State.MISSING, f"lacks {', '.join(absent)}",
        "set-up installs them", f"apt-get install {' '.join(absent)}",
    )  # fmt: skip


def _storage(where: Path) -> Finding:
    pool = _pool(where)
    if pool is not None:
        kind = pool.kind if pool.image is None else f"{pool.kind} in {pool.image}"
        state = State.OK if pool.kind == "btrfs" else State.WARNING
        why = None if state is State.OK else "no disk limit, slow copies"
        return Finding("storage", "pool", state, kind, why, None if why is None else
                       "keep WARDIAN_HOME on a btrfs, or use a kernel with btrfs")  # fmt: skip
    existing = _existing(where)
    kind = pool_image.filesystem_of(existing)
    planned = "native btrfs" if kind == "btrfs" else f"set-up will make a loop file on {kind}"
    return Finding("storage", "pool", State.OK, f"not made yet: {planned}")


def _pool(where: Path) -> configuration.Pool | None:
    try:
        return configuration.load(where / "node.json").pool
    except configuration.ConfigurationError:
        return None


def _space(where: Path) -> Finding:
    existing = _existing(where)
    free = shutil.disk_usage(existing).free
    value = f"{free / pool_image.GIB:.1f} GiB at {existing}"
    if free >= _LEAST_FREE or (where / "pool.img").exists():
        return Finding("storage", "free space", State.OK, value)
    return Finding(
        "storage", "free space", State.MISSING, value, "a node needs at least 4 GiB to begin with",
        "make room, or set WARDIAN_HOME to a larger disk",
    )  # fmt: skip


def _users() -> Finding:
    absent: list[str] = []
    for name in (accounts.CONTROL, accounts.EDGE):
        try:
            pwd.getpwnam(name)
        except KeyError:
            absent.append(name)
    if not absent:
        return Finding("node", "users", State.OK, f"{accounts.CONTROL}, {accounts.EDGE}")
    return Finding(
        "node", "users", State.WARNING, f"lacks {', '.join(absent)}", "set-up makes them", _SETUP
    )


def _python() -> Finding:
    value = f"{sys.executable} ({sys.version.split()[0]})"
    for path in (Path(sys.executable), Path(__file__)):
        obstacle = first_obstacle(path)
        if obstacle is not None:
            return Finding(
                "node", "Python", State.MISSING, value,
                f"the user wardian can't read {path} because of {obstacle}",
                "make setup in a checkout, or install in an environment below /opt: "
                "python3 -m venv /opt/wardian && /opt/wardian/bin/pip install 'wardian[server]'",
            )  # fmt: skip
    return Finding("node", "Python", State.OK, value)


def _binaries() -> Finding:
    try:
        found = binaries.find()
    except SetupError as error:
        return Finding("node", "programs", State.MISSING, error.message, mend=error.hint)
    return Finding("node", "programs", State.OK, str(Path(found.launcher).parent))


def _template() -> Finding:
    try:
        archive = builder.archive_of(recipe.find("base"))
    except recipe.RecipeError as error:
        return Finding("node", "template base", State.WARNING, str(error))
    if archive.is_file():
        return Finding("node", "template base", State.OK, str(archive))
    return Finding(
        "node", "template base", State.WARNING, "not built yet",
        "serve builds it at its first start, which takes some minutes",
        "sudo wardian template build base",
    )  # fmt: skip


def _port(where: Path) -> Finding:
    listen = DEFAULT_LISTEN
    with contextlib.suppress(configuration.ConfigurationError):
        listen = configuration.load(where / "node.json").listen
    host, _, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    running = _answers(home.run_directory(where) / "launcher.sock")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((bare, int(port)))
        except OSError as error:
            if running:
                return Finding("node", "port", State.OK, f"{listen}: a server of this node runs")
            return Finding(
                "node", "port", State.WARNING, f"{listen}: {os.strerror(error.errno or 0)}",
                "something else uses it", "wardian serve --listen 127.0.0.1:7301",
            )  # fmt: skip
    return Finding("node", "port", State.OK, f"{listen} is free")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(str(path))
        except OSError:
            return False
        return True


def _existing(where: Path) -> Path:
    return next(path for path in (where, *where.parents) if path.is_dir())
