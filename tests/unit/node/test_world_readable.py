"""What root can read and a node's own users can't is found before it does harm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from wardian.server.node.world_readable import first_obstacle

NOBODY = 65534


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory everybody can pass, on a way everybody can pass."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.getuid() and not directory.stat().st_mode & 0o001:
            directory.chmod(0o755)
    inner = tmp_path / "inner"
    inner.mkdir(mode=0o755)
    (inner / "file").write_text("x")
    (inner / "file").chmod(0o644)
    return inner


def readable_by_nobody(path: Path) -> bool:
    """What the kernel says."""
    return (
        subprocess.run(
            ["/bin/cat" if path.is_file() else "/bin/ls", str(path)],
            user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False,
        ).returncode == 0
    )  # fmt: skip


def test_an_open_way(place: Path) -> None:
    assert first_obstacle(place / "file") is None
    assert first_obstacle(place) is None
    assert readable_by_nobody(place / "file")


@pytest.mark.parametrize(("target", "mode"), [("", 0o700), ("", 0o754), ("file", 0o640)])
def test_what_is_in_the_way_is_named(place: Path, target: str, mode: int) -> None:
    closed = place / target
    closed.chmod(mode)
    assert first_obstacle(place / "file") == closed
    assert not readable_by_nobody(place / "file")


def test_a_link_is_followed_hop_by_hop(place: Path) -> None:
    (place.parent / "private").mkdir(mode=0o700)
    (place.parent / "private" / "python").write_text("x")
    (place / "absolute").symlink_to(place.parent / "private" / "python")
    (place / "relative").symlink_to("../private/python")
    (place / "good").symlink_to("./file")
    (place / "loop").symlink_to("loop")
    (place / "dangling").symlink_to("nothing")
    assert first_obstacle(place / "absolute") == place.parent / "private"
    assert first_obstacle(place / "relative") == place.parent / "private"
    assert first_obstacle(place / "good") is None
    assert first_obstacle(place / "loop") == place / "loop"
    assert first_obstacle(place / "dangling") == place / "nothing"
