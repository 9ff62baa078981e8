"""Whole directories up and down, and archives as streams."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wardian import DiskFull, FileError, FileNotFound, NotADirectory, Sandbox
from wardian.sdk._compression import Compression

from . import host
from .conftest import Make
from .test_file_tree import NOT_UTF8, ODD_NAMES
from .waiting import until

MEGABYTE = 1024 * 1024


@pytest.fixture
def place(minimal: Sandbox, unique: str) -> Iterator[str]:
    """A directory of the test's own, not there yet."""
    yield f"/tmp/{unique}"
    minimal.files.remove(f"/tmp/{unique}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for name in ODD_NAMES:
        (top / name).mkdir(parents=True)
        (top / name / name).write_bytes(os.fsencode(name))
    (top / "deep" / ("d" * 150) / ("e" * 150)).mkdir(parents=True)
    (top / "deep" / ("d" * 150) / ("e" * 150) / "file").write_bytes(os.urandom(700_000))
    (top / "script").write_text("#!/bin/sh\necho ran\n")
    (top / "script").chmod(0o755)
    os.link(top / "script", top / "twin")
    (top / "link").symlink_to("script")
    return top


def _content(top: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        found[name] = (
            path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        )
    return found


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_a_directory_goes_up_and_comes_back(
    minimal: Sandbox, place: str, tree: Path, tmp_path: Path, compression: Compression
) -> None:
    told: list[tuple[int, int | None]] = []
    report = minimal.files.upload_dir(
        tree, place, lambda done, total: told.append((done, total)), compression=compression
    )
    assert report.skipped == [] and report.files == len(ODD_NAMES) + 2 and report.links == 2
    assert told[-1][1] is not None and told[-1][0] > 700_000
    assert minimal.run(f"{place}/script; {place}/link; {place}/twin").stdout == "ran\n" * 3
    assert minimal.files.read(f"{place}/{NOT_UTF8}/{NOT_UTF8}", "bytes") == os.fsencode(NOT_UTF8)
    back = minimal.files.download_dir(place, tmp_path / "back", compression=compression)
    assert back.skipped == [] and _content(tmp_path / "back") == _content(tree)
    assert (tmp_path / "back" / "script").samefile(tmp_path / "back" / "twin")
    assert (tmp_path / "back" / "script").stat().st_mode & 0o777 == 0o755
    times = [(top / "script").stat().st_mtime for top in (tree, tmp_path / "back")]
    assert abs(times[0] - times[1]) < 0.001


def test_other_tools_read_and_write_the_same(minimal: Sandbox, place: str, tree: Path) -> None:
    minimal.files.upload_dir(tree, place)
    for compression in ("gzip", "none"):
        data = b"".join(minimal.files.archive(place, compression))
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = {os.path.normpath(member.name): member for member in tar}
            assert tar.extractfile(members["twin"]) is not None
        # Names that are no UTF-8 stand in the header as they are.
        assert {name for name in members if name != "."} == set(_content(tree))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        tar.add(tree, arcname="gnu")
    report = minimal.files.unpack(buffer.getvalue(), place)
    assert report.skipped == []
    assert len(minimal.files.list(f"{place}/gnu", recursive=True)) == len(_content(tree))
    minimal.run(f"tar -cf {place}/busy.tar -C {place} gnu", check=True)
    copied = minimal.files.unpack(minimal.files.read(f"{place}/busy.tar", "stream"), f"{place}/b")
    assert copied.files == report.files


def test_excluding(minimal: Sandbox, place: str, tree: Path, tmp_path: Path) -> None:
    minimal.files.upload_dir(tree, place, exclude=["deep/", "twin"])
    assert not minimal.files.exists(f"{place}/deep")
    minimal.files.download_dir(place, tmp_path / "back", exclude=["{script,link}", "new*"])
    names = {path.name for path in (tmp_path / "back").iterdir()}
    assert names == set(ODD_NAMES) - {"new\nline"}


def test_holes_stay_holes(minimal: Sandbox, place: str, tmp_path: Path) -> None:
    minimal.files.mkdir(place)
    minimal.run(
        "printf end | dd of=huge bs=1M seek=1M; printf x | dd of=some bs=1 seek=1000000",
        cwd=place,
        check=True,
    )
    report = minimal.files.download_dir(place, tmp_path / "back")
    assert report.bytes < 3 * MEGABYTE
    huge = tmp_path / "back" / "huge"
    assert huge.stat().st_size == 2**40 + 3 and huge.stat().st_blocks * 512 < MEGABYTE
    with huge.open("rb") as file:
        file.seek(2**40)
        assert file.read() == b"end"
    assert (tmp_path / "back" / "some").read_bytes() == bytes(1_000_000) + b"x"
    archive = minimal.files.archive(place)
    minimal.files.unpack(archive, f"{place}/again")
    assert minimal.files.stat(f"{place}/again/huge").size == 2**40 + 3
    assert minimal.files.read(f"{place}/again/huge", offset=2**40) == "end"
    with pytest.raises(FileError) as caught:
        minimal.files.download_dir(place, tmp_path / "limited", max_bytes=2**30)
    assert caught.value.code == "too_large"


def test_links_that_lead_out(minimal: Sandbox, place: str, tree: Path, tmp_path: Path) -> None:
    (tree / "away").symlink_to("/etc/passwd")
    report = minimal.files.upload_dir(tree, place)
    assert [skipped.path for skipped in report.skipped] == ["away"]
    assert minimal.files.upload_dir(tree, place, links="any").skipped == []
    assert minimal.files.stat(f"{place}/away").symlink_target == "/etc/passwd"
    back = minimal.files.download_dir(place, tmp_path / "back")
    assert [skipped.path for skipped in back.skipped] == ["away"]


def test_what_is_no_directory(minimal: Sandbox, place: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFound):
        minimal.files.download_dir(place, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.raises(NotADirectory):
        minimal.files.download_dir("/bin/busybox", tmp_path / "x")
    with pytest.raises(NotADirectoryError):
        minimal.files.upload_dir(__file__, place)
    data = b"".join(minimal.files.archive("/bin/busybox", "none"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["busybox"]
    for data in (b"", b"no archive at all" * 100, b"\x1f\x8b broken", b"\x28\xb5\x2f\xfd broken"):
        with pytest.raises(FileError) as caught:
            minimal.files.unpack(data, place)
        assert caught.value.code == "invalid_archive", data


def test_an_owner_is_who_asked(base: Sandbox, tree: Path) -> None:
    base.files.upload_dir(tree, "mine")
    owners = {entry.owner for entry in base.files.list("/home/user/mine", recursive=True)}
    assert owners == {"user"}
    base.files.remove("mine")


def test_a_disk_that_is_full_ends_it(make: Make) -> None:
    sandbox = make(limits={"disk_mb": 64})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("small", "large"):
            member = tarfile.TarInfo(name)
            member.size = 1000 if name == "small" else 128 * MEGABYTE
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(DiskFull):
        sandbox.files.unpack(buffer.getvalue(), "/target")
    until(
        lambda: [e.name for e in sandbox.files.list("/target")] == ["small"],
        "what did not come whole is removed",
    )


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_two_hundred_megabytes_in_constant_memory(
    make: Make, node: Any, tmp_path: Path, compression: Compression
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    block = os.urandom(MEGABYTE // 2)
    for number in range(200):
        # Half of it can be compressed.
        (top / str(number)).write_bytes(block + bytes(MEGABYTE // 2))
    sandbox = make()
    agent = host.agent_of(node, sandbox.id)
    before = agent.resident_bytes
    Path(f"/proc/{agent.pid}/clear_refs").write_text("5")
    sandbox.files.upload_dir(top, "/copy", compression=compression)
    report = sandbox.files.download_dir("/copy", tmp_path / "back", compression=compression)
    assert report.bytes == 200 * MEGABYTE
    status = Path(f"/proc/{agent.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) * 1024 - before < 32 * MEGABYTE
    assert (tmp_path / "back" / "199").read_bytes() == block + bytes(MEGABYTE // 2)


def test_the_guide_works(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = Path(__file__).parents[2] / "docs/guides/files.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "build.sh").write_text("mkdir build; echo made > build/result")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    try:
        exec(compile("\n".join(blocks), guide, "exec"), names)
    finally:
        names["sandbox"].kill()
    assert (tmp_path / "build" / "result").read_text() == "made\n"
