"""Tars that an honest tool would not write."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field

_BLOCK = 512


@dataclass(slots=True)
class Entry:
    """One entry, as it shall stand in the tar.

    Args:
        pax: records of an extended header before it.
    """

    name: str
    kind: bytes = tarfile.REGTYPE
    content: bytes = b""
    target: str = ""
    uid: int = 0
    device: tuple[int, int] = (0, 0)
    pax: dict[str, bytes] = field(default_factory=dict[str, bytes])


def tar(*entries: Entry, end: bool = True) -> bytes:
    """The entries as a tar, names and targets unchanged."""
    data = b"".join(_entry(entry) for entry in entries)
    return data + (b"\0" * _BLOCK * 2 if end else b"")


def _entry(entry: Entry) -> bytes:
    header = _extended(entry.pax) if entry.pax else b""
    info = tarfile.TarInfo(entry.name)
    info.type, info.linkname, info.uid, info.mode = entry.kind, entry.target, entry.uid, 0o755
    info.size = len(entry.content)
    info.devmajor, info.devminor = entry.device
    return header + info.tobuf(tarfile.GNU_FORMAT) + _padded(entry.content)


def _extended(records: dict[str, bytes], kind: bytes = b"x") -> bytes:
    body = b"".join(record(key, value) for key, value in records.items())
    return block("pax", kind, len(body)) + _padded(body)


def record(key: str, value: bytes) -> bytes:
    """One PAX record, which begins with its own length."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def block(name: str, kind: bytes, size: int | bytes) -> bytes:
    """One header block; ``size`` as a number, or as its 12 bytes."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = 0 if isinstance(size, bytes) else size
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if isinstance(size, bytes):
        header[124:136] = size
    return sealed(header)


def sealed(header: bytearray) -> bytes:
    """The block with its checksum made right."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _BLOCK)


def base_256(number: int, width: int) -> bytes:
    """A number as GNU tar writes those too large for octal digits."""
    return b"\x80" + number.to_bytes(width - 1, "big")


def _with_uid(field_bytes: bytes) -> bytes:
    header = bytearray(block("owned", tarfile.REGTYPE, 0))
    header[108:116] = field_bytes
    return sealed(header) + b"\0" * _BLOCK * 2


_DIR, _LINK, _HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
_CHAR, _BLOCK_DEVICE = tarfile.CHRTYPE, tarfile.BLKTYPE

# Each takes a directory of the host that must stay as it is. None may become a layer.
REFUSED: dict[str, Callable[[str], bytes]] = {
    "dots": lambda out: tar(Entry("../escaped")),
    "many dots": lambda out: tar(Entry("../" * 12 + out.lstrip("/") + "/escaped")),
    "dots behind a name": lambda out: tar(Entry("a/../../escaped")),
    "only dots": lambda out: tar(Entry("..", _DIR)),
    "dots in an extended name": lambda out: tar(Entry("x", pax={"path": b"../../escaped"})),
    "nul in a name": lambda out: tar(Entry("x", pax={"path": b"a\0b"})),
    "long name": lambda out: tar(Entry("n" * 300)),
    "long path": lambda out: tar(Entry("d/" * 3000 + "x")),
    "through a link": lambda out: tar(Entry("d", _LINK, target=out), Entry("d/escaped")),
    "through a link upwards": lambda out: tar(
        Entry("d", _LINK, target="../" * 12 + out.lstrip("/")), Entry("d/escaped")
    ),
    "through a link to a link": lambda out: tar(
        Entry("one", _LINK, target=out), Entry("two", _LINK, target="one"), Entry("two/escaped")
    ),
    "directory through a link": lambda out: tar(
        Entry("d", _LINK, target=out), Entry("d/escaped/", _DIR)
    ),
    "link through a link": lambda out: tar(
        Entry("d", _LINK, target=out), Entry("d/escaped", _LINK, target="x")
    ),
    "hard link outside": lambda out: tar(Entry("h", _HARD, target=f"{out}/kept")),
    "hard link upwards": lambda out: tar(
        Entry("h", _HARD, target="../" * 12 + out.lstrip("/") + "/kept")
    ),
    "hard link through a link": lambda out: tar(
        Entry("d", _LINK, target=out), Entry("h", _HARD, target="d/kept")
    ),
    "hard link to nothing": lambda out: tar(Entry("h", _HARD, target="nothing")),
    "hard link to itself": lambda out: tar(Entry("h", _HARD, target="h")),
    "whiteout of the parent": lambda out: tar(Entry("a/", _DIR), Entry("a/.wh...")),
    "whiteout of itself": lambda out: tar(Entry("a/", _DIR), Entry("a/.wh..")),
    "whiteout of nothing": lambda out: tar(Entry("a/", _DIR), Entry("a/.wh.")),
    "whiteout through a link": lambda out: tar(Entry("d", _LINK, target=out), Entry("d/.wh.kept")),
    "owner -1": lambda out: tar(Entry("x", pax={"uid": b"4294967295"})),
    "owner above 32 bits": lambda out: tar(Entry("x", pax={"uid": b"4294967296"})),
    "owner outside any sandbox": lambda out: tar(Entry("x", pax={"uid": b"65536"})),
    "group outside any sandbox": lambda out: tar(Entry("x", pax={"gid": b"2000000000"})),
    "negative owner": lambda out: tar(Entry("x", pax={"uid": b"-1"})),
    "binary owner": lambda out: _with_uid(base_256(2**40, 8)),
    "size above 63 bits": lambda out: tar(Entry("x", pax={"size": b"18446744073709551615"})),
    "binary size": lambda out: block("x", tarfile.REGTYPE, base_256(2**80, 12)),
    "negative size": lambda out: block("x", tarfile.REGTYPE, b"\xff" * 12),
    "breaks off in a file": lambda out: block("x", tarfile.REGTYPE, 100_000) + b"y" * 1000,
    "breaks off in a header": lambda out: tar(Entry("x"), end=False)[:300],
    "wrong checksum": lambda out: b"y" + tar(Entry("xx"))[1:],
    "noise": lambda out: b"\xa5" * 4096,
    "extended header of a gigabyte": lambda out: block("p", b"x", 2**30) + b"1" * 2**20,
    "long name of a gigabyte": lambda out: block("n", b"L", 2**30) + b"n" * 2**20,
    "extended record longer than its header": lambda out: (
        block("p", b"x", 20) + _padded(b"9999999 path=escaped\n"[:20]) + tar(Entry("x"))
    ),
    "extended record without length": lambda out: (
        block("p", b"x", 12) + _padded(b"path=escaped") + tar(Entry("x"))
    ),
    "sparse beyond all disks": lambda out: _sparse(2**60),
    "file, then something below it": lambda out: tar(Entry("a"), Entry("a/b")),
}


def _sparse(real_size: int) -> bytes:
    """An old GNU sparse file of no data that claims a size."""
    header = bytearray(block("sparse", b"S", 0))
    header[386:398] = b"%011o\0" % 0
    header[398:410] = b"%011o\0" % 0
    header[483:495] = base_256(real_size, 12)
    return sealed(header) + b"\0" * _BLOCK * 2


# May become a layer, as long as what they ask for is not in it.
HARMLESS: dict[str, Callable[[str], bytes]] = {
    "absolute name": lambda out: tar(Entry(f"{out}/escaped")),
    "link that points outside": lambda out: tar(Entry("d", _LINK, target=f"{out}/kept")),
    "hard link to a link that points outside": lambda out: tar(
        Entry("s", _LINK, target=f"{out}/kept"), Entry("h", _HARD, target="s")
    ),
    "directory, replaced by a link, then used": lambda out: tar(
        Entry("d/", _DIR), Entry("d", _LINK, target=out), Entry("d/escaped")
    ),
    "the same name twice": lambda out: tar(
        Entry("a", content=b"one"), Entry("a", content=b"two"), Entry("a/", _DIR)
    ),
    "character device": lambda out: tar(Entry("device", _CHAR, device=(1, 1))),
    "block device": lambda out: tar(Entry("device", _BLOCK_DEVICE, device=(8, 0))),
    "whiteout as a device": lambda out: tar(Entry("device", _CHAR, device=(0, 0))),
    "attribute of the overlay": lambda out: tar(
        Entry("a/", _DIR, pax={
            "SCHILY.xattr.trusted.overlay.redirect": b"/../../../etc",
            "SCHILY.xattr.trusted.overlay.opaque": b"y",
            "SCHILY.xattr.trusted.overlay.metacopy": b"",
            "SCHILY.xattr.user.overlay.redirect": b"/etc",
            "SCHILY.xattr.system.posix_acl_access": struct.pack("<I", 2),
        })
    ),
}  # fmt: skip


def gigantic_count(entries: int) -> io.BytesIO:
    """So many empty directories."""
    buffer = io.BytesIO()
    for number in range(entries):
        buffer.write(block(f"d{number}/", _DIR, 0))
    buffer.write(b"\0" * _BLOCK * 2)
    buffer.seek(0)
    return buffer
