"""The reader of archives agrees with Python's own on good ones and refuses all others."""

from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.server.errors import InvalidRequest
from wardian.server.templates.tar_index import members

_name = st.from_regex(r"\A[a-z0-9]{1,30}(/[a-z0-9]{1,60}){0,3}\Z")
_FORMATS = (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT)


def archive(entries: list[tuple[str, bytes]], kind: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), 1.5 if kind == tarfile.PAX_FORMAT else 1
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def found(data: bytes) -> list[tuple[str, bytes]]:
    file = io.BytesIO(data)
    listed = list(members(file, len(data)))
    return [(each.name, data[each.offset : each.offset + each.size]) for each in listed]


@given(st.lists(st.tuples(_name, st.binary(max_size=1500)), max_size=8), st.sampled_from(_FORMATS))
def test_files_of_a_good_archive(entries: list[tuple[str, bytes]], kind: int) -> None:
    assert found(archive(entries, kind)) == entries


@given(st.binary(max_size=4096))
def test_rubbish_is_refused_or_empty(data: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        assert found(data) == []


@given(st.data())
def test_a_damaged_archive_gives_nothing_outside_itself(data: st.DataObject) -> None:
    good = bytearray(archive([("a", b"x" * 700), ("b" * 90, b"y")], tarfile.PAX_FORMAT))
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidRequest):
        for each in members(io.BytesIO(bytes(good)), len(good)):
            assert 0 <= each.offset <= each.offset + each.size <= len(good)


def test_an_archive_that_is_cut_off() -> None:
    good = archive([("a", b"x" * 5000)], tarfile.USTAR_FORMAT)
    for length in (100, 512, 600, 5000):
        with pytest.raises(InvalidRequest, match="cut off"):
            found(good[:length])


def test_an_extended_header_of_great_size_is_not_read() -> None:
    entry = tarfile.TarInfo("a")
    entry.pax_headers = {"comment": "x" * 200_000}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry)
    with pytest.raises(InvalidRequest, match="too large"):
        found(buffer.getvalue())


def test_an_endless_chain_of_members_ends() -> None:
    header = archive([("a", b"")], tarfile.USTAR_FORMAT)[:512]
    with pytest.raises(InvalidRequest, match="more than"):
        found(header * 30_000)
