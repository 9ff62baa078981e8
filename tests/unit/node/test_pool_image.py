"""The disk pool: how large it becomes, and that its room is really taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.server.configuration import Pool
from wardian.server.node import pool_image
from wardian.server.node.setup_error import SetupError

GIB = pool_image.GIB


@given(st.integers(0, 10**6), st.sampled_from(["", "K", "M", "G", "T", "k", "g"]),
       st.sampled_from(["", "B", "iB"]))  # fmt: skip
def test_sizes(number: int, unit: str, ending: str) -> None:
    factor = 1024 ** "_KMGT".index(unit.upper() or "_")
    assert pool_image.parse_size(f"{number}{unit}{ending}") == number * factor


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.5G", "1 PB", "1e9", "0x10", "9" * 30])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(SetupError):
        pool_image.parse_size(text)


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ("1M", "900T"):
        monkeypatch.setenv("WARDIAN_POOL_SIZE", size)
        with pytest.raises(SetupError, match="WARDIAN_POOL_SIZE"):
            pool_image.image_size(tmp_path)


def test_the_default_leaves_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WARDIAN_POOL_SIZE", raising=False)
    usage = type("Usage", (), {"free": 100 * GIB})
    monkeypatch.setattr(pool_image.shutil, "disk_usage", lambda _: usage)
    assert pool_image.image_size(tmp_path) == 40 * GIB
    usage.free = 10_000 * GIB
    assert pool_image.image_size(tmp_path) == 64 * GIB


def test_an_image_is_preallocated_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDIAN_POOL_SIZE", "1G")
    (tmp_path / "pool").mkdir()
    said: list[str] = []
    made = pool_image.ensure(tmp_path, said.append)
    image = tmp_path / "pool.img"
    if made.image is None:
        pytest.fail(f"no image on this machine: {said}")
    assert made == Pool(path=str(tmp_path / "pool"), kind="btrfs", image=str(image))
    assert image.stat().st_blocks * 512 >= GIB
    assert image.stat().st_mode & 0o777 == 0o600
    before = image.stat()
    said.clear()
    assert pool_image.ensure(tmp_path, said.append, made) == made
    assert pool_image.ensure(tmp_path, said.append) == made
    assert said == []
    assert image.stat().st_mtime_ns == before.st_mtime_ns


def test_a_machine_without_btrfs_gets_plain_directories_and_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_image, "loop_obstacle", lambda: "this kernel has no btrfs")
    monkeypatch.setattr(pool_image, "filesystem_of", lambda _: "ext4")
    said: list[str] = []
    made = pool_image.ensure(tmp_path, said.append)
    assert (made.kind, made.image) == ("plain", None)
    assert any("warning" in line and "no btrfs" in line for line in said)
