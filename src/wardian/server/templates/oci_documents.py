"""The JSON documents of an OCI or Docker image, as far as they matter here."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from wardian.server.errors import InvalidRequest

#: No index, manifest or config of a real image comes near.
LARGEST_DOCUMENT: Final = 4 << 20

OCI: Final = "application/vnd.oci.image"
DOCKER: Final = "application/vnd.docker.distribution.manifest"
INDEX_TYPES: Final = (f"{OCI}.index.v1+json", f"{DOCKER}.list.v2+json")
MANIFEST_TYPES: Final = (f"{OCI}.manifest.v1+json", f"{DOCKER}.v2+json")

Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")]
Size = Annotated[int, Meta(ge=0, le=1 << 50)]

Document = TypeVar("Document")


class Platform(Struct, frozen=True):
    """What an image in an index runs on."""

    architecture: str
    os: str
    variant: str = ""


class Descriptor(Struct, frozen=True, rename="camel"):
    """A blob: its kind, its digest, its size in bytes."""

    media_type: str
    digest: Digest
    size: Size
    platform: Platform | None = None

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.digest.removeprefix("sha256:")


class Index(Struct, frozen=True, rename="camel"):
    """Images for several platforms, or of one layout."""

    manifests: Annotated[list[Descriptor], Meta(max_length=1024)]
    schema_version: int = 2


class Manifest(Struct, frozen=True, rename="camel"):
    """One image."""

    config: Descriptor
    layers: Annotated[list[Descriptor], Meta(max_length=1024)]
    schema_version: int = 2


class Defaults(Struct, frozen=True):
    """What a container of the image runs with."""

    user: str | None = msgspec.field(default=None, name="User")
    working_directory: str | None = msgspec.field(default=None, name="WorkingDir")
    env: list[str] | None = msgspec.field(default=None, name="Env")
    entrypoint: list[str] | None = msgspec.field(default=None, name="Entrypoint")
    command: list[str] | None = msgspec.field(default=None, name="Cmd")


class RootFs(Struct, frozen=True):
    """SHA-256 of each layer unpacked, lowest first."""

    diff_ids: Annotated[list[Digest], Meta(max_length=1024)]


class ImageConfig(Struct, frozen=True):
    """An image's configuration."""

    rootfs: RootFs
    os: str = "linux"
    architecture: str = ""
    config: Defaults | None = None


def read(data: bytes, kind: type[Document], what: str) -> Document:
    """Decodes one document.

    Args:
        data: its bytes.
        kind: what it must be.
        what: how to name it in an error.

    Raises:
        InvalidRequest: it is not as it must be.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{what} of the image is not as it must be: {error}") from error
