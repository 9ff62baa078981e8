"""Owners, modes and the first key are as docs/node-protocols.md says, and stay so."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from wardian.server.node import home
from wardian.server.node.accounts import Accounts
from wardian.server.node.setup_error import SetupError

ACCOUNTS = Accounts(
    control_uid=54321, edge_uid=54322, gid=54320, handlers_uid=54323, handlers_gid=54324
)


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for directory in (tmp_path, *tmp_path.parents):
        if not directory.stat().st_mode & stat.S_IXOTH:
            directory.chmod(0o755)
    monkeypatch.setattr(home, "RUN_ROOT", tmp_path / "run")
    yield tmp_path / "home"


def standing(path: Path) -> tuple[int, int, str]:
    found = path.lstat()
    return found.st_uid, found.st_gid, oct(stat.S_IMODE(found.st_mode))


def test_directories(where: Path) -> None:
    for _ in range(2):
        home.ensure_directories(where, ACCOUNTS)
        run = home.run_directory(where)
        assert standing(where) == (0, 0, "0o755")
        assert standing(where / "control") == (54321, 54320, "0o700")
        assert standing(where / "pool") == (0, 0, "0o700")
        assert standing(where / "seed") == (0, 0, "0o755")
        assert standing(home.handlers_state(where)) == (54323, 54324, "0o700")
        assert standing(run) == (0, 54320, "0o750")
        assert standing(run / "control") == (54321, 54320, "0o750")
        assert standing(run / "launcher") == (0, 0, "0o700")
        assert standing(run / "handlers") == (0, 54320, "0o750")
        # Whatever was changed is mended by the second round.
        (where / "control").chmod(0o777)
        os.chown(run / "launcher", 54321, 54320)


def test_a_link_in_place_of_a_directory_is_refused(where: Path, tmp_path: Path) -> None:
    home.ensure_directories(where, ACCOUNTS)
    (where / "control").rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (where / "control").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SetupError):
        home.ensure_directories(where, ACCOUNTS)
    assert standing(tmp_path / "elsewhere") == (0, 0, "0o700")


def test_a_home_below_a_private_directory_is_refused(where: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(SetupError, match=re.escape(str(private))):
        home.ensure_directories(private / "home", ACCOUNTS)


def test_the_first_key_is_made_once_and_its_hash_handed_over(where: Path) -> None:
    home.ensure_directories(where, ACCOUNTS)
    path = home.ensure_first_key(where, ACCOUNTS)
    key = path.read_text().strip()
    assert re.fullmatch(r"e2b_[0-9a-f]{40}", key)
    assert standing(path) == (0, 0, "0o600")
    handed = where / "control" / "first-key.sha256"
    assert handed.read_text().strip() == hashlib.sha256(key.encode()).hexdigest()
    assert standing(handed) == (54321, 54320, "0o400")
    home.ensure_first_key(where, ACCOUNTS)
    assert path.read_text().strip() == key


def test_a_link_the_control_plane_put_down_is_not_followed(where: Path, tmp_path: Path) -> None:
    home.ensure_directories(where, ACCOUNTS)
    precious = tmp_path / "precious"
    precious.write_text("of root")
    (where / "control" / "first-key.sha256").symlink_to(precious)
    home.ensure_first_key(where, ACCOUNTS)
    assert precious.read_text() == "of root"
    assert standing(precious)[:2] == (0, 0)
    assert (where / "control" / "first-key.sha256").is_file()


def test_instances_differ_by_home() -> None:
    assert home.instance_of(Path("/a")) != home.instance_of(Path("/b"))
    assert re.fullmatch(r"[0-9a-f]{8}", home.instance_of(Path("/a")))
