"""Files come back as they went, whatever their names and sizes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import httpx
import pytest

from wardian import DiskFull, FileError, FileExists, FileNotFound, FileType, Sandbox

from .conftest import Make
from .waiting import until

MEGABYTE = 1024 * 1024
ODD_NAMES = [
    "two words",
    "new\nline",
    "tab\tand 'quotes\" and `ticks`",
    "-rf",
    "--help",
    "*",
    "back\\slash",
    "percent%2F%00",
    "question?and#hash&amp=1",
    "grüße-日本-🎉",
    "n" * 255,
    "ü" * 127,
    "...",
    "~",
]


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3 * MEGABYTE])
def test_content_comes_back(minimal: Sandbox, size: int) -> None:
    data = os.urandom(size)
    minimal.files.write("/tmp/content", data)
    assert minimal.files.read("/tmp/content", "bytes") == data
    assert minimal.files.stat("/tmp/content").size == size


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_the_kernel_allows(minimal: Sandbox, name: str) -> None:
    path = f"/tmp/odd/{name}"
    minimal.files.write(path, name)
    assert minimal.files.read(path) == name
    assert [entry.name for entry in minimal.files.list("/tmp/odd")] == [name]
    assert minimal.run(["cat", path]).stdout == name
    moved = minimal.files.move(path, f"/tmp/odd-moved/{name}")
    assert moved.path == f"/tmp/odd-moved/{name}"
    assert not minimal.files.exists(path)
    minimal.files.remove("/tmp/odd-moved")
    assert not minimal.files.exists("/tmp/odd-moved")


def test_a_name_too_long_is_an_error_and_nothing_else(minimal: Sandbox) -> None:
    with pytest.raises(FileError):
        minimal.files.write(f"/tmp/long/{'n' * 256}", "x")
    assert minimal.run("true").ok


def test_a_nul_byte_in_a_path_is_an_error(minimal: Sandbox) -> None:
    with pytest.raises(FileError):
        minimal.files.stat("/tmp/a\0b")


def test_a_hundred_megabytes_up_and_down(minimal: Sandbox, tmp_path: Path) -> None:
    block = os.urandom(MEGABYTE)
    local, back = tmp_path / "local", tmp_path / "back"
    with local.open("wb") as file:
        for number in range(100):
            file.write(number.to_bytes(4, "big") + block[4:])
    told: list[int] = []
    minimal.files.upload(local, "/tmp/large", lambda sent, _: told.append(sent))
    digest = _digest(local)
    assert told[-1] == 100 * MEGABYTE
    assert minimal.run(["sha256sum", "/tmp/large"]).stdout.split()[0] == digest
    minimal.files.download("/tmp/large", back)
    assert _digest(back) == digest
    minimal.files.remove("/tmp/large")


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 3, b"012"),
        (7, None, b"789"),
        (3, 4, b"3456"),
        (9, 100, b"9"),
        (10, None, b""),
        (99, 1, b""),
        (2, 0, b""),
    ],
)
def test_parts_of_a_file(
    minimal: Sandbox, offset: int, length: int | None, expected: bytes
) -> None:
    minimal.files.write("/tmp/digits", "0123456789")
    assert minimal.files.read("/tmp/digits", "bytes", offset=offset, length=length) == expected


def test_writing_replaces_and_makes_the_directories_above(minimal: Sandbox) -> None:
    minimal.files.write("/tmp/deep/er/still/file", "a longer first content")
    minimal.files.write("/tmp/deep/er/still/file", "second")
    assert minimal.files.read("/tmp/deep/er/still/file") == "second"


def test_a_written_file_belongs_to_who_wrote_it(base: Sandbox) -> None:
    base.files.write("made/by-user", "x")
    base.files.write("/root/by-root", "x", user="root")
    assert base.files.stat("/home/user/made").owner == "user"
    assert base.files.stat("made/by-user").path == "/home/user/made/by-user"
    assert base.files.stat("/root/by-root", user="root").owner == "root"


def test_a_user_may_do_what_the_kernel_lets_them(base: Sandbox) -> None:
    """Commands, that is: the file calls are root's, as in E2B, and give what they make away."""
    base.files.write("/root/secret", "x", user="root")
    base.run("chmod 600 /root/secret; chmod 700 /root", user="root", check=True)
    for command in (
        "cat /root/secret",
        "ls /root",
        "echo x > /root/other",
        "echo x >> /etc/passwd",
        "mkdir /usr/mine",
        "mv /etc/passwd /home/user/passwd",
        "rm -f /etc/passwd",
    ):
        result = base.run(command)
        assert result.exit_code != 0 and "Permission denied" in result.stderr, command
    assert "root:" in base.files.read("/etc/passwd")


def test_what_is_not_there_is_not_found(minimal: Sandbox) -> None:
    for attempt in (minimal.files.read, minimal.files.stat, minimal.files.list):
        with pytest.raises(FileNotFound):
            attempt("/no/such/thing")
    with pytest.raises(FileNotFound):
        minimal.files.move("/no/such/thing", "/tmp/x")
    assert not minimal.files.exists("/no/such/thing")
    minimal.files.remove("/no/such/thing")


def test_a_directory_is_no_file_and_a_file_no_directory(minimal: Sandbox) -> None:
    minimal.files.mkdir("/tmp/directory", exist_ok=True)
    minimal.files.write("/tmp/file", "x")
    with pytest.raises(FileExists):
        minimal.files.mkdir("/tmp/directory")
    with pytest.raises(FileError):
        minimal.files.read("/tmp/directory")
    with pytest.raises(FileError):
        minimal.files.write("/tmp/directory", "x")
    with pytest.raises(FileError):
        minimal.files.list("/tmp/file")
    with pytest.raises(FileError):
        minimal.files.write("/tmp/file/below", "x")


def test_links_are_shown_as_links_and_followed_when_read(minimal: Sandbox) -> None:
    minimal.files.write("/tmp/target", "content")
    minimal.run("ln -sf /tmp/target /tmp/link; ln -sf /nowhere /tmp/dangling", check=True)
    entry = minimal.files.stat("/tmp/link")
    assert entry.symlink_target == "/tmp/target"
    assert minimal.files.read("/tmp/link") == "content"
    by_name = {each.name: each for each in minimal.files.list("/tmp")}
    assert by_name["dangling"].type is not FileType.DIRECTORY
    with pytest.raises(FileNotFound):
        minimal.files.read("/tmp/dangling")


def test_reading_a_pipe_does_not_hang_the_agent(minimal: Sandbox) -> None:
    minimal.run("mkfifo /tmp/pipe", check=True)
    with pytest.raises(FileError):
        minimal.files.read("/tmp/pipe")


def test_depth_of_a_listing(minimal: Sandbox) -> None:
    minimal.run("mkdir -p /tmp/tree/a/b/c", check=True)
    assert [e.name for e in minimal.files.list("/tmp/tree")] == ["a"]
    assert sorted(e.name for e in minimal.files.list("/tmp/tree", depth=3)) == ["a", "b", "c"]


def test_a_hundred_thousand_files_are_listed(make: Make) -> None:
    sandbox = make()
    sandbox.run("mkdir /many; cd /many; seq 1 100000 | xargs touch", check=True)
    entries = sandbox.files.list("/many")
    assert len(entries) == 100_000
    assert {entry.name for entry in entries} == {str(number) for number in range(1, 100_001)}
    assert sandbox.run("true").ok


def test_a_full_disk_is_an_error_and_the_sandbox_goes_on(make: Make) -> None:
    sandbox = make(limits={"disk_mb": 64})
    with pytest.raises(DiskFull) as caught:
        sandbox.files.write("/big", bytes(128 * MEGABYTE))
    assert caught.value.path == "/big"
    assert sandbox.run("echo alive").stdout == "alive\n"
    sandbox.files.remove("/big")

    def writes_again() -> bool:
        sandbox.files.write("/small", "fits again")
        return sandbox.files.read("/small") == "fits again"

    until(writes_again, "room after the large file was removed")


def test_a_command_that_fills_the_disk_hears_it_from_the_kernel(make: Make) -> None:
    sandbox = make(limits={"disk_mb": 64})
    result = sandbox.run("dd if=/dev/zero of=/big bs=1M count=128")
    assert result.exit_code != 0
    assert "quota" in result.stderr or "No space" in result.stderr
    assert sandbox.run("rm /big; echo ok").stdout == "ok\n"


def test_an_upload_without_the_agents_token_is_refused(
    minimal: Sandbox, http: httpx.Client
) -> None:
    routing = {"Wardian-Sandbox-Id": minimal.id, "Wardian-Sandbox-Port": "49983"}
    for token in ({}, {"X-Access-Token": "wrong"}):
        answer = http.post(
            "/files", params={"path": "/tmp/intruder"}, content=b"x", headers=routing | token
        )
        assert answer.status_code == 401
    assert not minimal.files.exists("/tmp/intruder")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
