"""ClientHellos (RFC 8446, section 4.1.2) as no honest client sends them."""

from __future__ import annotations

import os
import struct
from typing import Final

SERVER_NAME: Final = 0
_SUPPORTED_VERSIONS: Final = 43
_SUPPORTED_GROUPS: Final = 10
_SIGNATURES: Final = 13
_KEY_SHARE: Final = 51
ENCRYPTED_HELLO: Final = 0xFE0D
OLD_ENCRYPTED_NAME: Final = 0xFFCE


def extension(kind: int, data: bytes) -> bytes:
    """One extension."""
    return struct.pack("!HH", kind, len(data)) + data


def server_name(*names: bytes, kind: int = 0) -> bytes:
    """The extension that names whom the client wants (RFC 6066), with so many names."""
    entries = b"".join(bytes([kind]) + struct.pack("!H", len(each)) + each for each in names)
    return extension(SERVER_NAME, struct.pack("!H", len(entries)) + entries)


def message(*extensions: bytes, version: int = 0x0303) -> bytes:
    """A whole ClientHello, with these extensions before those that every server needs."""
    groups = extension(_SUPPORTED_GROUPS, struct.pack("!HHH", 4, 0x001D, 0x0017))
    signatures = extension(_SIGNATURES, struct.pack("!HHH", 4, 0x0403, 0x0804))
    versions = extension(_SUPPORTED_VERSIONS, struct.pack("!BHH", 4, 0x0304, 0x0303))
    share = struct.pack("!HH", 0x001D, 32) + os.urandom(32)
    key = extension(_KEY_SHARE, struct.pack("!H", len(share)) + share)
    all_ = b"".join(extensions) + groups + signatures + versions + key
    body = struct.pack("!H", version) + os.urandom(32) + b"\x20" + os.urandom(32)
    body += struct.pack("!HHHH", 6, 0x1301, 0x1303, 0xC02B) + b"\x01\x00"
    body += struct.pack("!H", len(all_)) + all_
    return b"\x01" + struct.pack("!I", len(body))[1:] + body


def record(data: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    """One record of TLS."""
    return struct.pack("!BHH", kind, version, len(data)) + data


def hello(*extensions: bytes) -> bytes:
    """A ClientHello in one record."""
    return record(message(*extensions))


def in_records(data: bytes, size: int) -> bytes:
    """A message over records of ``size`` bytes each."""
    return b"".join(record(data[at : at + size]) for at in range(0, len(data), size))
