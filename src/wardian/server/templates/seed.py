"""Templates that set-up left for the control plane to import when it starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from wardian.server.egress.model import Egress
from wardian.server.errors import TemplateNotFound, Unavailable, WardianError
from wardian.server.templates.model import TemplateMetadata

if TYPE_CHECKING:
    from wardian.server.templates.catalog import TemplateCatalog

_LOG: Final = logging.getLogger(__name__)
_CHUNK: Final = 1 << 20
_RETRY_SECONDS: Final = 1.0


class Seed(Struct, frozen=True, forbid_unknown_fields=True):
    """``<directory>/<name>.json``: one template to import.

    Args:
        name: the template's name.
        archive: file in the same directory, a zstd-compressed tar of the root filesystem.
        source: what the template will name as its source; the same source is imported once.
        user: default user.
        workdir: default directory.
        env: default environment.
        start_command: shell line to run at start.
        egress: what its sandboxes may reach.
    """

    name: str
    archive: str
    source: str
    user: str
    workdir: str | None
    env: dict[str, str]
    start_command: str | None
    egress: Egress | None = None


async def import_seeds(catalog: TemplateCatalog, directory: Path) -> None:
    """Imports every seed in ``directory`` whose source the catalog does not have yet.

    A seed that can't be imported is logged and does not keep the others or the server back; while
    the launcher is not there yet it is tried again.
    """
    for path in await asyncio.to_thread(_listed, directory):
        try:
            seed = msgspec.json.decode(await asyncio.to_thread(path.read_bytes), type=Seed)
            if Path(seed.archive).name != seed.archive:
                raise ValueError(f"{seed.archive!r} is not a file name")
            await _import_one(catalog, seed, directory / seed.archive)
        except (OSError, ValueError, WardianError) as error:
            _LOG.error("template seed %s was not imported: %s", path, error)


async def _import_one(catalog: TemplateCatalog, seed: Seed, archive: Path) -> None:
    try:
        if (await catalog.get(seed.name)).source == seed.source:
            return
    except TemplateNotFound:
        pass
    metadata = TemplateMetadata(seed.user, seed.workdir, seed.env, seed.start_command, seed.egress)
    while True:
        try:
            await catalog.import_rootfs_tar(
                seed.name, _chunks(archive), "zstd", metadata, source=seed.source
            )
        except Unavailable as error:
            _LOG.info("template seed %s waits: %s", seed.name, error)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            _LOG.info("template %s imported from %s", seed.name, archive)
            return


def _listed(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.json"))


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
    finally:
        await asyncio.to_thread(file.close)
