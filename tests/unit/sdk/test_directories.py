"""Directories as archives: what is packed is unpacked, and a hostile archive stays below its target
on this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from security.hostile_tar import HARMLESS, REFUSED, Entry, tar

from wardian import ProtocolError, TransferReport
from wardian.sdk._compression import Decompressor, compressor
from wardian.sdk._pack import pack, total_size
from wardian.sdk._tarstream import TarReader
from wardian.sdk._unpack import DirectoryWriter, LimitExceeded

NOT_UTF8 = os.fsdecode(b"caf\xe9")


def unpack(data: bytes, target: Path, step: int = 1000, **limits: int) -> TransferReport:
    """Unpacks an archive that comes in pieces."""
    reader = TarReader()
    with DirectoryWriter(target, **limits) as writer:
        for start in range(0, len(data), step):
            for event in reader.feed(data[start : start + step]):
                writer.take(event)
        if not reader.ended:
            raise ProtocolError("the archive ends too early")
        return writer.report()


def names(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*")}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with something of everything."""
    top = tmp_path / "tree"
    (top / "deep" / ("d" * 200) / ("e" * 200)).mkdir(parents=True)
    (top / "deep" / ("d" * 200) / ("e" * 200) / ("f" * 200)).write_bytes(os.urandom(100_000))
    (top / "-rf\n").write_text("odd")
    (top / NOT_UTF8).write_text("odder")
    (top / "empty").touch()
    (top / "script").write_text("#!/bin/sh\n")
    (top / "script").chmod(0o4755)
    os.link(top / "script", top / "twin")
    (top / "link").symlink_to("deep")
    (top / "deep" / "up").symlink_to("../script")
    os.utime(top / "empty", (1, 1_000_000_000))
    return top


def test_a_directory_comes_back(tree: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    data = b"".join(pack(tree, progress=lambda done, total: told.append((done, total))))
    target = tmp_path / "back"
    report = unpack(data, target, 333)
    assert names(target) == names(tree)
    for path in tree.rglob("*"):
        copy = target / path.relative_to(tree)
        if path.is_symlink():
            assert copy.readlink() == path.readlink()
        elif path.is_file():
            assert copy.read_bytes() == path.read_bytes()
    assert (target / "script").stat().st_mode & 0o7777 == 0o755
    assert (target / "script").samefile(target / "twin")
    assert (target / "empty").stat().st_mtime == 1_000_000_000
    assert report.skipped == [] and (report.files, report.links) == (5, 3)
    assert told[-1] == (total_size(tree) - (tree / "twin").stat().st_size, total_size(tree))


def test_what_is_excluded_is_left_out(tree: Path, tmp_path: Path) -> None:
    data = b"".join(pack(tree, exclude=["deep/", "*.log", "lin?"]))
    assert unpack(data, tmp_path / "back").files == 4
    assert "deep" not in names(tmp_path / "back")


def test_special_files_are_not_waited_for(tree: Path, tmp_path: Path) -> None:
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "socket"))
        data = b"".join(pack(tree))
    assert {"pipe", "socket"}.isdisjoint(
        unpack(data, tmp_path / "back") and names(tmp_path / "back")
    )


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "kept").write_text("safe")
    return place


def _is_untouched(outside: Path, target: Path) -> None:
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "safe"
    assert (outside / "kept").stat().st_nlink == 1
    for path in target.rglob("*"):
        assert path.is_symlink() or path.is_dir() or path.is_file()
        assert path.resolve().is_relative_to(target.resolve())
        assert path.lstat().st_mode & 0o6000 == 0


@pytest.mark.parametrize("case", [*REFUSED, *HARMLESS])
def test_a_hostile_archive_stays_below_its_target(outside: Path, tmp_path: Path, case: str) -> None:
    archives: dict[str, Callable[[str], bytes]] = {**REFUSED, **HARMLESS}
    target = tmp_path / "target"
    with contextlib.suppress(ProtocolError):
        unpack(archives[case](str(outside)), target)
    _is_untouched(outside, target)


def test_what_lies_in_the_target_is_not_written_through(outside: Path, tmp_path: Path) -> None:
    """A link or a hard link that was there before leads nowhere either."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "away").symlink_to(outside)
    (target / "file").symlink_to(outside / "kept")
    (target / "full").mkdir()
    (target / "full" / "x").touch()
    archive = tar(
        Entry("away/new"),
        Entry("away/", tarfile.DIRTYPE),
        Entry("file", content=b"evil"),
        Entry("full", content=b"evil"),
        Entry("full", tarfile.SYMTYPE, target="x"),
    )
    report = unpack(archive, target)
    assert (target / "file").read_bytes() == b"evil" and not (target / "file").is_symlink()
    assert report.skipped_count == 4 and (target / "full" / "x").exists()
    (target / "away").unlink()
    _is_untouched(outside, target)


def test_limits_end_it(tree: Path, tmp_path: Path) -> None:
    data = b"".join(pack(tree))
    with pytest.raises(LimitExceeded):
        unpack(data, tmp_path / "one", max_entries=3)
    with pytest.raises(LimitExceeded):
        unpack(data, tmp_path / "two", max_bytes=1000)
    assert (
        sum(path.stat().st_size for path in (tmp_path / "two").rglob("*") if path.is_file()) <= 1000
    )


def test_a_file_that_is_cut_off_is_removed(tmp_path: Path) -> None:
    data = tar(Entry("whole", content=b"x" * 2000), Entry("cut", content=b"y" * 2000))
    with pytest.raises(ProtocolError):
        unpack(data[:4000], tmp_path / "target")
    assert names(tmp_path / "target") == {"whole"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12))
def test_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]
) -> None:
    top = tmp_path_factory.mktemp("damage")
    outside = top / "outside"
    outside.mkdir()
    (outside / "kept").write_text("safe")
    data = bytearray(
        tar(
            Entry("d/", tarfile.DIRTYPE),
            Entry("d/f", content=b"x" * 600, pax={"path": b"d/long", "mtime": b"1.5"}),
            Entry("l", tarfile.SYMTYPE, target="d"),
            Entry("h", tarfile.LNKTYPE, target="d/long"),
        )
    )
    for place, value in places:
        data[place % len(data)] = value
    # OSError: a name too long for this machine, for example.
    with contextlib.suppress(ProtocolError, OSError):
        unpack(bytes(data), top / "target", 200)
    _is_untouched(outside, top / "target")


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_what_is_compressed_comes_back(compression: str) -> None:
    plain = os.urandom(1000) + bytes(3_000_000) + os.urandom(1000)
    compressed = b""
    for _ in range(2):
        # Two streams, one behind the other, are one.
        packer = compressor(compression)  # type: ignore[arg-type]
        compressed += packer.compress(plain) + packer.flush()
    decoder = Decompressor(compression)  # type: ignore[arg-type]
    pieces = [
        piece
        for start in range(0, len(compressed), 777)
        for piece in decoder.feed(compressed[start : start + 777])
    ]
    assert b"".join(pieces) == plain * 2
    if compression != "none":
        assert max(map(len, pieces)) <= 4_000_000
        with pytest.raises(ProtocolError):
            Decompressor(compression).feed(b"this is none of it")  # type: ignore[arg-type]
