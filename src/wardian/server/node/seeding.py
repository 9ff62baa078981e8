"""Templates that set-up builds, offered to the control plane as files it may read.

The directory is root's: root never writes where the control plane could have put a link.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from wardian.server.node import home
from wardian.server.node.progress import Report
from wardian.server.node.setup_error import SetupError
from wardian.server.templates import builder, recipe
from wardian.server.templates.seed import Seed


def build_missing(names: Iterable[str], report: Report) -> list[tuple[recipe.Recipe, Path]]:
    """Builds those recipes that the cache lacks.

    Returns:
        Each recipe and its archive.

    Raises:
        SetupError: there is no such recipe, or its build failed.
    """
    try:
        found = [recipe.find(name) for name in names]
        return [(each, builder.build(each, report)) for each in found]
    except (recipe.RecipeError, builder.BuildError) as error:
        raise SetupError(str(error)) from error


def offer(names: Iterable[str], directory: Path, report: Report) -> None:
    """Builds what is missing and puts archives and their metadata into ``directory``.

    Raises:
        SetupError: a build failed or the directory can't be written.
    """
    for each, archive in build_missing(names, report):
        metadata = each.metadata
        seed = Seed(
            name=each.name,
            archive=archive.name,
            source=each.source,
            user=metadata.user,
            workdir=metadata.workdir,
            env=metadata.env,
            start_command=metadata.start_command,
            egress=metadata.egress,
        )
        try:
            _place(archive, directory / archive.name)
            home.write_public(directory, f"{each.name}.json", msgspec.json.encode(seed).decode())
            _remove_older(directory, each.name, archive.name)
        except OSError as error:
            raise SetupError(f"can't write {error.filename}: {error.strerror}") from error


def _place(archive: Path, target: Path) -> None:
    if target.exists() and target.stat().st_mtime_ns >= archive.stat().st_mtime_ns:
        return
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.link(archive, new)
    except OSError:
        shutil.copy2(archive, new)
    new.rename(target)


def _remove_older(directory: Path, name: str, current: str) -> None:
    for path in directory.glob(f"{name}-*.tar.zst"):
        if path.name != current and len(path.name) == len(current):
            path.unlink()
