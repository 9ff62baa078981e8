"""Reading a tar as it comes, as the agent writes it: pax headers, GNU's map of files with holes.

Nothing that comes out of a sandbox is trusted: every length is bounded, and what this reader does
not know ends it. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ._errors import ProtocolError

BLOCK = 512
_EXTENSION_LIMIT = 1024 * 1024
_PIECES_LIMIT = 65_536
_MAP_LIMIT = _PIECES_LIMIT * 42 + 512
_LARGEST = 2**63


@dataclass(slots=True)
class Member:
    """A member of an archive.

    Attributes:
        path: Its bytes as they stand in the archive.
        kind: `file`, `directory`, `symlink`, `hardlink` or `other`.
        mode: Permission bits.
        size: Of its content, in bytes.
        modified: Seconds since 1970.
        target: Where a link leads.
    """

    path: bytes
    kind: str
    mode: int
    size: int
    modified: float
    target: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """Some of a member's content, and where in the file it belongs."""

    offset: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class End:
    """All of a member has come."""


Event = Member | Content | End
_KINDS = {b"0": "file", b"\0": "file", b"1": "hardlink", b"2": "symlink", b"5": "directory"}


@dataclass(slots=True)
class TarReader:
    """Takes an archive apart.

    Attributes:
        ended: Whether the archive's own end has come.
    """

    ended: bool = False
    _pending: bytearray = field(default_factory=bytearray)
    _pax: dict[str, bytes] = field(default_factory=dict[str, bytes])
    # A file with holes whose map is at hand: what is stored of it, and the map so far.
    _member: Member | None = None
    _stored: int = 0
    _map_bytes: bytearray = field(default_factory=bytearray)
    # Offset and length of what is still to come of the content.
    _pieces: list[list[int]] = field(default_factory=list[list[int]])
    _padding: int = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """What `data` completes.

        Raises:
            ProtocolError: This is no archive as the agent writes them.
        """
        view = memoryview(data)
        while view and not self.ended:
            if self._pieces:
                piece = self._pieces[0]
                taken = view[: piece[1]]
                yield Content(piece[0], taken)
                piece[0] += len(taken)
                piece[1] -= len(taken)
                view = view[len(taken) :]
                if piece[1] == 0:
                    self._pieces.pop(0)
                    if not self._pieces:
                        yield End()
            elif self._padding:
                skipped = min(self._padding, len(view))
                self._padding -= skipped
                view = view[skipped:]
            else:
                view, events = self._gather(view)
                yield from events

    def _gather(self, view: memoryview) -> tuple[memoryview, list[Event]]:
        """Take what is missing of a header, and read it once it is whole."""
        wanted = self._wanted()
        taken = view[: wanted - len(self._pending)]
        self._pending += taken
        events: list[Event] = []
        if len(self._pending) == wanted == self._wanted():
            header, self._pending = bytes(self._pending), bytearray()
            events = self._header(header)
        return view[len(taken) :], events

    def _wanted(self) -> int:
        """How long the header at hand is, as far as it has come, with what extends it."""
        if len(self._pending) < BLOCK or self._member is not None:
            return BLOCK
        if self._pending[156] == ord("x"):
            size = _octal(bytes(self._pending[124:136]))
            if size > _EXTENSION_LIMIT:
                raise ProtocolError("an extension header of the archive is too long")
            return BLOCK + size + -size % BLOCK
        return BLOCK

    def _header(self, header: bytes) -> list[Event]:
        block = header[:BLOCK]
        if self._member is not None:
            return self._map(block)
        if block == bytes(BLOCK):
            self.ended = True
            return []
        if _octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 32:
            raise ProtocolError("a header of the archive is damaged")
        if block[156:157] == b"x":
            size = _octal(block[124:136])
            self._pax = _records(header[BLOCK : BLOCK + size])
            return []
        pax, self._pax = self._pax, {}
        stored = _number(pax.get("size"), block[124:136])
        sparse = "GNU.sparse.realsize" in pax
        size = _number(pax["GNU.sparse.realsize"], b"") if sparse else stored
        path = pax.get("GNU.sparse.name") or pax.get("path") or block[:100].rstrip(b"\0")
        member = Member(
            path=path,
            kind=_KINDS.get(block[156:157], "other"),
            mode=_octal(block[100:108]) & 0o7777,
            size=size,
            modified=_time(pax.get("mtime"), block[136:148]),
            target=pax.get("linkpath") or block[157:257].rstrip(b"\0"),
        )
        return self._begin(member, stored, sparse)

    def _begin(self, member: Member, stored: int, sparse: bool) -> list[Event]:
        if member.kind != "file":
            if stored:
                raise ProtocolError("the archive has content for what is no file")
            return [member, End()]
        if sparse:
            self._member = member
            self._stored = stored
            self._map_bytes = bytearray()
            return [member]
        if not stored:
            return [member, End()]
        self._pieces = [[0, stored]]
        self._padding = -stored % BLOCK
        return [member]

    def _map(self, block: bytes) -> list[Event]:
        """Read one block of the map that a file with holes begins with."""
        member = self._member
        assert member is not None
        self._map_bytes += block
        self._stored -= BLOCK
        lines = bytes(self._map_bytes).split(b"\n")
        if self._stored < 0 or len(self._map_bytes) > _MAP_LIMIT:
            raise ProtocolError("the archive's map of a file makes no sense")
        count = _decimal(lines[0])
        if count > _PIECES_LIMIT:
            raise ProtocolError("the archive's map of a file makes no sense")
        if len(lines) - 1 < 1 + 2 * count:
            return []
        pieces: list[list[int]] = []
        end = 0
        for index in range(count):
            offset, length = _decimal(lines[1 + 2 * index]), _decimal(lines[2 + 2 * index])
            if offset < end or offset + length > member.size:
                raise ProtocolError("the archive's map of a file makes no sense")
            end = offset + length
            if length:
                pieces.append([offset, length])
        if sum(piece[1] for piece in pieces) != self._stored:
            raise ProtocolError("the archive's map of a file makes no sense")
        self._member = None
        self._pieces = pieces
        self._padding = -self._stored % BLOCK
        return [] if pieces else [End()]


def _octal(digits: bytes) -> int:
    text = digits.rstrip(b"\0 ").lstrip(b" ")
    if text.strip(b"01234567"):
        raise ProtocolError("a number in the archive is malformed")
    return int(text or b"0", 8)


def _decimal(digits: bytes) -> int:
    if not digits or len(digits) > 20 or digits.strip(b"0123456789"):
        raise ProtocolError("a number in the archive is malformed")
    number = int(digits)
    if number >= _LARGEST:
        raise ProtocolError("a number in the archive is too large")
    return number


def _number(record: bytes | None, digits: bytes) -> int:
    return _octal(digits) if record is None else _decimal(record)


def _time(record: bytes | None, digits: bytes) -> float:
    if record is None:
        return float(_octal(digits))
    try:
        time = float(record)
    except ValueError:
        raise ProtocolError("a time in the archive is malformed") from None
    # Times that no file system has: not a number, infinite, before or after everything.
    return time if abs(time) < 2**40 else 0.0


def _records(data: bytes) -> dict[str, bytes]:
    records: dict[str, bytes] = {}
    while data:
        digits, blank, _ = data.partition(b" ")
        length = _decimal(digits) if blank else 0
        record = data[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if not 0 < length <= len(data) or not equals or not value.endswith(b"\n"):
            raise ProtocolError("an extension header of the archive is malformed")
        records[key.decode("utf-8", "replace")] = value[:-1]
        data = data[length:]
    return records
