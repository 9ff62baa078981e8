"""An OCI image layout in a tar, read where it lies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import IO, Final

from wardian.server.errors import InvalidRequest
from wardian.server.templates import oci_documents, tar_index
from wardian.server.templates.oci_documents import LARGEST_DOCUMENT, Descriptor, Index
from wardian.server.templates.oci_image import choose
from wardian.server.templates.tar_index import Member

_KNOWN: Final = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")
_CHUNK: Final = 1 << 20


class OciLayout:
    """The blobs of one archive. Files that are no part of a layout are ignored.

    Args:
        file: the tar, seekable; stays the caller's.
        found: its files by name.
    """

    def __init__(self, file: IO[bytes], found: dict[str, Member]) -> None:
        self._file = file
        self._found = found
        self._reading = asyncio.Lock()

    @classmethod
    async def open(cls, file: IO[bytes], length: int) -> OciLayout:
        """Reads the archive's directory.

        Args:
            file: the tar, seekable.
            length: its length in bytes.

        Raises:
            InvalidRequest: it is no tar, cut off, or no image layout.
        """
        found = await asyncio.to_thread(_scan, file, length)
        for name in ("oci-layout", "index.json"):
            if name not in found:
                raise InvalidRequest(
                    f"the archive holds no {name}: it is no OCI image layout",
                    "make one with: skopeo copy … oci-archive:FILE",
                )
        return cls(file, found)

    async def top(self) -> Descriptor:
        """What index.json leads to: this machine's image or an index.

        Raises:
            InvalidRequest: index.json is not as it must be.
            Unsupported: it has nothing for this machine.
        """
        data = await self._document("index.json")
        index = oci_documents.read(data, Index, "index.json")
        return choose(index.manifests)

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """An index or manifest among the blobs."""
        return await self._document(f"blobs/sha256/{descriptor.hex}")

    async def blob(self, descriptor: Descriptor) -> AsyncGenerator[bytes]:
        """A blob's bytes.

        Raises:
            InvalidRequest: the archive does not hold it, or in another size.
        """
        member = self._member(f"blobs/sha256/{descriptor.hex}")
        if member.size != descriptor.size:
            raise InvalidRequest(f"blob {descriptor.digest} is not of the size the image says")
        for start in range(0, member.size, _CHUNK):
            yield await self._read(member.offset + start, min(_CHUNK, member.size - start))

    async def _document(self, name: str) -> bytes:
        member = self._member(name)
        if member.size > LARGEST_DOCUMENT:
            raise InvalidRequest(f"{name} is too large to be a document of an image")
        return await self._read(member.offset, member.size)

    def _member(self, name: str) -> Member:
        member = self._found.get(name)
        if member is None:
            raise InvalidRequest(f"the archive does not hold {name}, which the image needs")
        return member

    async def _read(self, offset: int, count: int) -> bytes:
        async with self._reading:
            return await asyncio.to_thread(_read_at, self._file, offset, count)


def _scan(file: IO[bytes], length: int) -> dict[str, Member]:
    found: dict[str, Member] = {}
    for member in tar_index.members(file, length):
        if _KNOWN.fullmatch(member.name) is None:
            continue
        if member.name in found:
            raise InvalidRequest(f"the archive holds {member.name} twice")
        found[member.name] = member
    return found


def _read_at(file: IO[bytes], offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
