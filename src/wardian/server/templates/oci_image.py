"""From a reference or an index to one image: its config and its layers, everything verified."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final, Protocol

from wardian.server.errors import InvalidRequest, Unsupported
from wardian.server.templates import oci_documents
from wardian.server.templates.layer_intake import Encoding
from wardian.server.templates.oci_documents import (
    INDEX_TYPES,
    LARGEST_DOCUMENT,
    MANIFEST_TYPES,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
)

_DEEPEST_INDEX: Final = 3
_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "riscv64": "riscv64",
}
_ENCODINGS: Final[dict[str, Encoding | None]] = {
    "application/vnd.oci.image.layer.v1.tar": None,
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
    "application/vnd.docker.image.rootfs.diff.tar": None,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
}


class BlobSource(Protocol):
    """Where blobs come from; what it gives is not trusted."""

    def blob(self, descriptor: Descriptor) -> AsyncGenerator[bytes]:
        """The blob's bytes."""
        ...

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """An index or manifest."""
        ...


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image.

    Args:
        descriptor: the blob.
        encoding: its compression.
        diff_id: what it must unpack to: SHA-256, hexadecimal.
    """

    descriptor: Descriptor
    encoding: Encoding | None
    diff_id: str


@dataclass(frozen=True, slots=True)
class Image:
    """One image: digest of its manifest, its configuration, its layers lowest first."""

    digest: str
    config: ImageConfig
    layers: tuple[Layer, ...]


def verify(data: bytes, descriptor: Descriptor) -> bytes:
    """Returns ``data`` if it is the blob of ``descriptor``.

    Raises:
        InvalidRequest: size or digest differ.
    """
    if len(data) != descriptor.size or hashlib.sha256(data).hexdigest() != descriptor.hex:
        raise InvalidRequest(f"blob {descriptor.digest} is not what its digest and size say")
    return data


async def resolve(source: BlobSource, top: Descriptor) -> Image:
    """Finds this machine's image below ``top`` and reads its configuration.

    Raises:
        InvalidRequest: a document is not as it must be.
        Unsupported: there is none for this machine, or a kind of layer we can't unpack.
    """
    descriptor = top
    for _ in range(_DEEPEST_INDEX):
        if descriptor.media_type in MANIFEST_TYPES:
            return await _image(source, descriptor)
        if descriptor.media_type not in INDEX_TYPES:
            raise Unsupported(f"{descriptor.media_type!r} is no image this node understands")
        data = await source.manifest(_bounded(descriptor))
        index = oci_documents.read(verify(data, descriptor), Index, "the index")
        descriptor = choose(index.manifests)
    raise InvalidRequest(f"the image's indexes lie deeper than {_DEEPEST_INDEX}")


def architecture() -> str:
    """This machine's, in the words of images."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def choose(manifests: list[Descriptor]) -> Descriptor:
    """The entry for this machine; a single one that names no platform is taken as it is.

    Raises:
        Unsupported: there is none.
    """
    known = [each for each in manifests if each.media_type in MANIFEST_TYPES + INDEX_TYPES]
    for each in known:
        wanted = each.platform
        if wanted is not None and (wanted.os, wanted.architecture) == ("linux", architecture()):
            return each
    if len(known) == 1 and known[0].platform is None:
        return known[0]
    offered = sorted({f"{p.os}/{p.architecture}" for e in known if (p := e.platform) is not None})
    raise Unsupported(
        f"the image has no variant for linux/{architecture()}",
        f"it offers {', '.join(offered)[:200]}" if offered else None,
    )


async def _image(source: BlobSource, descriptor: Descriptor) -> Image:
    data = verify(await source.manifest(_bounded(descriptor)), descriptor)
    manifest = oci_documents.read(data, Manifest, "the manifest")
    raw = bytearray()
    async for chunk in source.blob(_bounded(manifest.config)):
        raw += chunk
        if len(raw) > manifest.config.size:
            break
    config = oci_documents.read(
        verify(bytes(raw), manifest.config), ImageConfig, "the configuration"
    )
    if config.os != "linux":
        raise Unsupported(f"the image is for {config.os!r}, not for linux")
    if len(config.rootfs.diff_ids) != len(manifest.layers) or not manifest.layers:
        raise InvalidRequest("the image's configuration and manifest disagree about its layers")
    layers = [
        Layer(each, _encoding(each), diff_id.removeprefix("sha256:"))
        for each, diff_id in zip(manifest.layers, config.rootfs.diff_ids, strict=True)
    ]
    return Image(descriptor.digest, config, tuple(layers))


def _encoding(layer: Descriptor) -> Encoding | None:
    if layer.media_type not in _ENCODINGS:
        raise Unsupported(f"layers of kind {layer.media_type[:100]!r} can't be unpacked here")
    return _ENCODINGS[layer.media_type]


def _bounded(descriptor: Descriptor) -> Descriptor:
    if descriptor.size > LARGEST_DOCUMENT:
        raise InvalidRequest(f"blob {descriptor.digest} is too large to be a document of an image")
    return descriptor
