"""Where the three Rust programs of a node lie."""

from __future__ import annotations

import os
from pathlib import Path

from wardian.server.configuration import Binaries
from wardian.server.node.setup_error import SetupError
from wardian.server.node.world_readable import first_obstacle

NAMES = ("agent", "edge", "launcher")


def package_directory() -> Path:
    """The directory in the installed package that wheels and ``make build`` put them in."""
    return Path(__file__).resolve().parents[2] / "bin"


def directory() -> Path:
    """``$WARDIAN_BIN`` if set, else :func:`package_directory`."""
    override = os.environ.get("WARDIAN_BIN")
    return Path(override).absolute() if override else package_directory()


def find() -> Binaries:
    """All three, checked.

    Raises:
        SetupError: one is missing, or the node's unprivileged users could not run it.
    """
    where = directory()
    paths = {name: where / f"wardian-{name}" for name in NAMES}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing:
        raise SetupError(
            f"{', '.join(missing)} not found in {where}",
            "run `make build` in a checkout, or install a wheel that carries them",
        )
    for path in paths.values():
        if not os.access(path, os.X_OK):
            raise SetupError(f"{path} is not executable", f"chmod 755 {path}")
        obstacle = first_obstacle(path)
        if obstacle is not None:
            raise SetupError(
                f"{path} can't be read by the user wardian-edge because of {obstacle}",
                "set WARDIAN_BIN to a copy in a directory that everybody can read",
            )
    return Binaries(**{name: str(path) for name, path in paths.items()})
