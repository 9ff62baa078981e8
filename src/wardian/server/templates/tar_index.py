"""Where the regular files of a tar lie in it. Nothing is extracted; names are only looked up.

Python's tarfile reads extended headers of any size into memory; this reader bounds everything and
understands just what archives of image layouts need: ustar, pax ``path`` and ``size``, base-256.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from wardian.server.errors import InvalidRequest

BLOCK: Final = 512
_MOST_MEMBERS: Final = 20_000
_LARGEST_EXTENDED: Final = 64 << 10
_REGULAR: Final = (b"0", b"\0", b"7")


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar: its name, where its content begins, how many bytes it has."""

    name: str
    offset: int
    size: int


def members(file: IO[bytes], length: int) -> Iterator[Member]:
    """The regular files, in order.

    Args:
        file: the tar, seekable.
        length: its length in bytes.

    Raises:
        InvalidRequest: it is no tar, it is cut off, or has too many members.
    """
    position, extended = 0, dict[str, str]()
    for _ in range(_MOST_MEMBERS):
        header = _read(file, position, BLOCK, length)
        if not header.strip(b"\0"):
            return
        _check(header)
        kind = header[156:157]
        size = _number(header[124:136])
        if kind in _REGULAR and "size" in extended:
            size = _decimal(extended["size"])
        begin = position + BLOCK
        position = begin + (size + BLOCK - 1) // BLOCK * BLOCK
        if begin + size > length:
            raise InvalidRequest("the archive is cut off", "send the whole file")
        if kind == b"x":
            extended = _records(_extended(file, begin, size, length))
            continue
        if kind == b"L":
            raise InvalidRequest("the archive has names too long for an image layout")
        if kind in _REGULAR:
            yield Member(_clean(extended.get("path") or _name(header)), begin, size)
        if kind != b"g":
            extended = {}
    raise InvalidRequest(f"the archive has more than {_MOST_MEMBERS} members")


def _read(file: IO[bytes], offset: int, count: int, length: int) -> bytes:
    if offset + count > length:
        raise InvalidRequest("the archive is cut off", "send the whole file")
    file.seek(offset)
    data = file.read(count)
    if len(data) != count:
        raise InvalidRequest("the archive is cut off", "send the whole file")
    return data


def _extended(file: IO[bytes], offset: int, size: int, length: int) -> bytes:
    if size > _LARGEST_EXTENDED:
        raise InvalidRequest("the archive has an extended header that is too large")
    return _read(file, offset, size, length)


def _check(header: bytes) -> None:
    total = sum(header[:148]) + 8 * 0x20 + sum(header[156:])
    if _number(header[148:156]) != total:
        raise InvalidRequest("this is not a tar archive")


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        # Base-256; negative ones (0xff) make no sense for any field read here.
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] == 0xFF or value >= 1 << 60:
            raise InvalidRequest("the archive has a size that makes no sense")
        return value
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise InvalidRequest("this is not a tar archive") from error


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise InvalidRequest("the archive has a size that makes no sense")
    return int(text)


def _records(data: bytes) -> dict[str, str]:
    records: dict[str, str] = {}
    while data:
        number, space, _ = data.partition(b" ")
        if not space or not number.isdigit() or not len(number) < int(number) <= len(data):
            raise InvalidRequest("the archive has an extended header that makes no sense")
        record, data = data[len(number) + 1 : int(number)], data[int(number) :]
        key, _, value = record.rstrip(b"\n").partition(b"=")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return records


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:262] == b"ustar" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _clean(name: str) -> str:
    return name.removeprefix("./")
