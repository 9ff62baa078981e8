"""The templates of a node: what there is, and how new ones get in."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wardian.server.egress.model import Egress
from wardian.server.errors import (
    InvalidRequest,
    TemplateInUse,
    TemplateNotFound,
    Unsupported,
    WardianError,
)
from wardian.server.node.launcher import LauncherClient, LauncherFailure
from wardian.server.node.protocol import LayerValue
from wardian.server.store.templates import TemplateStore
from wardian.server.templates import oci_config, oci_image
from wardian.server.templates.layer_intake import Encoding, LayerIntake
from wardian.server.templates.model import (
    PullDone,
    PullEvent,
    PullProgress,
    PullRequest,
    Template,
    TemplateMetadata,
)
from wardian.server.templates.oci_image import BlobSource, Image, Layer
from wardian.server.templates.oci_layout import OciLayout
from wardian.server.templates.oci_registry import OciRegistry

_LOG: Final = logging.getLogger(__name__)

#: The launcher stacks no more.
MOST_LAYERS: Final = 64
#: Each import spools to the node's disk.
_AT_ONCE: Final = 2
_PROGRESS_BYTES: Final = 4 << 20
#: SHA-256 of the tar that holds nothing: image builders write it for steps that change no file.
_EMPTY_TAR: Final = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


class TemplateCatalog:
    """Keeps records and layers in step: a layer stays while a template or an import needs it.

    Args:
        store: the records.
        launcher: owner of the layers.
        spool: directory that takes uploads until the launcher has them.
    """

    def __init__(self, store: TemplateStore, launcher: LauncherClient, spool: Path) -> None:
        self._store = store
        self._launcher = launcher
        self._spool = spool
        self._turns = asyncio.Semaphore(_AT_ONCE)
        # Guards the choice of layers to remove against imports that begin to need them.
        self._choosing = asyncio.Lock()
        self._pinned: Counter[str] = Counter()

    async def get(self, name: str) -> Template:
        """The template of this name.

        Raises:
            TemplateNotFound: there is none.
        """
        template = await self._store.get(name)
        if template is None:
            raise TemplateNotFound(name, [each.name for each in await self._store.list()])
        return template

    async def list(self) -> list[Template]:
        """All templates, by name."""
        return await self._store.list()

    async def remove(self, name: str) -> None:
        """Removes a template, and the layers nothing else uses.

        Raises:
            TemplateNotFound: there is none.
            TemplateInUse: sandboxes that have not ended were made from it.
        """
        await self.get(name)
        users = await self._store.live_users(name)
        if users:
            raise TemplateInUse(f"{users} sandboxes use template {name!r}", "end them first")
        if not await self._store.remove(name):
            raise TemplateNotFound(name)
        await self.remove_unused_layers()

    async def import_rootfs_tar(
        self,
        name: str,
        chunks: AsyncIterable[bytes],
        encoding: Encoding | None,
        metadata: TemplateMetadata,
        *,
        source: str = "tar",
    ) -> tuple[Template, bool]:
        """Makes a template of one layer.

        Args:
            name: its name; one of that name is replaced.
            chunks: the tar, compressed as ``encoding`` says.
            encoding: ``None``: not compressed.
            metadata: its defaults.
            source: what it names as its source.

        Returns:
            The template, and whether anything changed.

        Raises:
            InvalidRequest: the tar is not acceptable.
            NoSpace: the pool or the node's disk is full.
        """
        async with self._importing() as pins, LayerIntake(self._spool, encoding) as intake:
            async for chunk in chunks:
                await intake.write(chunk)
            layer = await intake.finish()
            value = await self._import_layer(layer, intake.descriptor(), pins)
            if value.files == 0:
                raise InvalidRequest("the archive holds nothing", "send a tar of a root filesystem")
            return await self._keep(name, [layer], value.bytes, metadata, source)

    async def import_oci_archive(
        self, name: str, chunks: AsyncIterable[bytes], egress: Egress | None = None
    ) -> tuple[Template, bool]:
        """Makes a template of an OCI image layout in a tar; ``egress``: of its defaults.

        Returns and raises as :meth:`import_rootfs_tar`; also:

        Raises:
            Unsupported: it has no image for this machine.
        """
        async with self._importing() as pins, LayerIntake(self._spool, None) as archive:
            async for chunk in chunks:
                await archive.write(chunk)
            await archive.finish()
            with os.fdopen(os.dup(archive.descriptor()), "rb") as file:
                layout = await OciLayout.open(file, archive.unpacked_bytes)
                image = await oci_image.resolve(layout, await layout.top())
                size = 0
                for layer in _needed(image):
                    size += await self._fetch_whole(layout, layer, pins)
            source = f"oci-archive@{image.digest}"
            return await self._keep_image(name, image, size, source, egress)

    async def pull(self, name: str, request: PullRequest) -> AsyncGenerator[PullEvent]:
        """Makes a template of an image in a registry; tells how far it is.

        Raises:
            NotFound: the registry has no such image.
            Forbidden: it wants another login.
            Unavailable: it does not answer.
            InvalidRequest: reference or image are not as they must be.
        """
        async with self._importing() as pins, OciRegistry.open(request) as registry:
            image = await oci_image.resolve(registry, await registry.top())
            layers, size = _needed(image), 0
            for index, layer in enumerate(layers):
                known = await self._existing(layer, pins)
                total = layer.descriptor.size
                if known is not None:
                    size += known
                    yield PullProgress(layer.descriptor.digest, index, len(layers), total, total)
                    continue
                async with LayerIntake(self._spool, layer.encoding) as intake:
                    done = 0
                    async with aclosing(_fetch(registry, layer, intake)) as steps:
                        async for done in steps:
                            yield PullProgress(
                                layer.descriptor.digest, index, len(layers), done, total
                            )
                    size += await self._take(layer, intake, pins)
                yield PullProgress(layer.descriptor.digest, index, len(layers), total, total)
            reference = registry.reference
            bound = str(reference) if reference.digest else f"{reference}@{image.digest}"
            template, _ = await self._keep_image(name, image, size, bound)
        yield PullDone(template)

    async def remove_unused_layers(self) -> None:
        """Removes every layer that no template, no import and no sandbox needs."""
        async with self._choosing:
            used = {layer for each in await self._store.list() for layer in each.layers}
            for layer in await self._launcher.list_layers():
                if layer in used or self._pinned[layer] > 0:
                    continue
                try:
                    await self._launcher.remove_layer(layer)
                except LauncherFailure as error:
                    # A sandbox of a template that was replaced may still stand on it.
                    if error.failure not in ("in_use", "not_found"):
                        raise

    @asynccontextmanager
    async def _importing(self) -> AsyncGenerator[list[str]]:
        """Waits for a turn; the layers put into the yielded list stay until the end."""
        await asyncio.to_thread(self._spool.mkdir, mode=0o700, parents=True, exist_ok=True)
        pins: list[str] = []
        async with self._turns:
            try:
                yield pins
            except BaseException:
                self._pinned.subtract(pins)
                if pins:
                    await self._clean_up()
                raise
            self._pinned.subtract(pins)

    async def _clean_up(self) -> None:
        try:
            await self.remove_unused_layers()
        except WardianError as error:
            # What made the import fail matters more; the next removal takes these layers too.
            _LOG.warning("layers of a failed import stay for now: %s", error)

    async def _pin(self, layer: str, pins: list[str]) -> None:
        async with self._choosing:
            self._pinned[layer] += 1
            pins.append(layer)

    async def _import_layer(self, layer: str, descriptor: int, pins: list[str]) -> LayerValue:
        await self._pin(layer, pins)
        try:
            return await self._launcher.import_layer(layer, descriptor)
        except LauncherFailure as error:
            if error.failure == "bad_layer":
                raise InvalidRequest(f"the archive can't be a layer: {error.message}") from error
            raise

    async def _existing(self, layer: Layer, pins: list[str]) -> int | None:
        """Unpacked size of a layer the launcher has; it need not be fetched."""
        await self._pin(layer.diff_id, pins)
        if layer.diff_id not in await self._launcher.list_layers():
            return None
        # Importing an existing layer reads nothing; this one is pinned, so it stays.
        nothing = os.open("/dev/null", os.O_RDONLY)
        try:
            return (await self._import_layer(layer.diff_id, nothing, pins)).bytes
        finally:
            os.close(nothing)

    async def _fetch_whole(self, source: BlobSource, layer: Layer, pins: list[str]) -> int:
        known = await self._existing(layer, pins)
        if known is not None:
            return known
        async with LayerIntake(self._spool, layer.encoding) as intake:
            async with aclosing(_fetch(source, layer, intake)) as steps:
                async for _ in steps:
                    pass
            return await self._take(layer, intake, pins)

    async def _take(self, layer: Layer, intake: LayerIntake, pins: list[str]) -> int:
        """Hands a layer that was fetched to the launcher, once it is what the image says."""
        wanted = layer.descriptor
        unpacked = await intake.finish()
        if (intake.packed_bytes, intake.packed_digest) != (wanted.size, wanted.hex):
            raise InvalidRequest(f"layer {wanted.digest} is not what its digest and size say")
        if unpacked != layer.diff_id:
            raise InvalidRequest(f"layer {wanted.digest} does not unpack to what the image says")
        return (await self._import_layer(unpacked, intake.descriptor(), pins)).bytes

    async def _keep_image(
        self, name: str, image: Image, size: int, source: str, egress: Egress | None = None
    ) -> tuple[Template, bool]:
        layers = [layer.diff_id for layer in reversed(_needed(image))]
        metadata = replace(oci_config.metadata_of(image.config.config), egress=egress)
        return await self._keep(name, layers, size, metadata, source)

    async def _keep(
        self, name: str, layers: Iterable[str], size: int, metadata: TemplateMetadata, source: str
    ) -> tuple[Template, bool]:
        before = await self._store.get(name)
        wanted = Template(
            name=name,
            layers=tuple(layers),
            size_bytes=size,
            user=metadata.user,
            workdir=metadata.workdir,
            env=dict(metadata.env),
            start_command=metadata.start_command,
            source=source,
            created_at=datetime.now(UTC),
            egress=metadata.egress,
        )
        if before is not None and replace(wanted, created_at=before.created_at) == before:
            return before, False
        await self._store.put(wanted)
        if before is not None and set(before.layers) - set(wanted.layers):
            await self.remove_unused_layers()
        return wanted, True


async def _fetch(source: BlobSource, layer: Layer, intake: LayerIntake) -> AsyncGenerator[int]:
    """Fills ``intake``; yields now and then how many bytes are in."""
    done, told = 0, 0
    async with aclosing(source.blob(layer.descriptor)) as chunks:
        async for chunk in chunks:
            done += len(chunk)
            await intake.write(chunk)
            if done - told >= _PROGRESS_BYTES:
                told = done
                yield done


def _needed(image: Image) -> list[Layer]:
    """The layers to stack, lowest first: of equal ones the topmost, and none that holds nothing.

    Raises:
        Unsupported: more than can be stacked.
    """
    kept: dict[str, Layer] = {}
    for layer in reversed(image.layers):
        kept.setdefault(layer.diff_id, layer)
    needed = [each for each in reversed(kept.values()) if each.diff_id != _EMPTY_TAR]
    if not 0 < len(needed) <= MOST_LAYERS:
        raise Unsupported(
            f"the image has {len(needed)} layers; 1 to {MOST_LAYERS} can be stacked",
            "squash it" if needed else None,
        )
    return needed
