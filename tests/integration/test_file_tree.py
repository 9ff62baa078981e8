"""Trees of files: listed, found, searched, changed, whatever their names."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from wardian import (
    AsyncSandbox,
    DiskFull,
    FileError,
    FileExists,
    FileNotFound,
    FileType,
    IsADirectory,
    NotADirectory,
    ReplacementCountMismatch,
    Sandbox,
)

from . import host
from .conftest import Make
from .waiting import until

NOT_UTF8 = os.fsdecode(b"caf\xe9-\xff\xfe")
ODD_NAMES = [
    "new\nline",
    "-rf",
    "  leading spaces",
    "grüße-🎉",
    "n" * 255,
    "back\\slash",
    "percent%2F",
    "*?[a]{b,c}",
    NOT_UTF8,
]


@pytest.fixture
def place(minimal: Sandbox, unique: str) -> Iterator[str]:
    """A directory of the test's own."""
    path = f"/tmp/{unique}"
    minimal.files.mkdir(path)
    yield path
    minimal.files.remove(path)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_call_takes_every_name(minimal: Sandbox, place: str, name: str) -> None:
    files = minimal.files
    path = f"{place}/{name}/{name}"
    files.mkdir(f"{place}/{name}")
    files.write(path, "first needle\n", mode=0o640)
    files.append(path, "second\n")
    assert files.read(path) == "first needle\nsecond\n"
    assert files.read(path, "bytes", offset=6, length=6) == b"needle"
    entry = files.stat(path)
    assert (entry.path, entry.name, entry.mode) == (path, name, 0o640)
    assert [e.path for e in files.list(place, recursive=True)] == [f"{place}/{name}", path]
    assert [e.path for e in files.glob("**", place, type="file")] == [path]
    assert [m.path for m in files.search("needle", place).matches] == [path]
    assert [f.path for f in files.replace("needle", "thread", place).files] == [path]
    assert files.read(path) == "first thread\nsecond\n"
    assert files.chmod(place, "go-rwx", recursive=True) == 3
    assert files.stat(path).mode == 0o600
    files.chown(path, 12, 34)
    assert (files.stat(path).owner, files.stat(path).group) == ("12", "34")
    link = files.symlink(name, f"{place}/{name}/link")
    assert link.symlink_target == name and link.target_type is FileType.FILE
    moved = files.move(path, f"{path[:-1]}_")
    assert files.hash(moved.path) == hashlib.sha256(b"first thread\nsecond\n").hexdigest()
    files.remove(f"{place}/{name}")
    assert files.list(place) == []


def test_names_that_are_no_utf8_are_the_same_bytes_inside(minimal: Sandbox, place: str) -> None:
    minimal.files.write(f"{place}/{NOT_UTF8}", "x")
    listed = minimal.run("printf %s * | od -An -tx1", cwd=place).stdout.split()
    assert listed == ["63", "61", "66", "e9", "2d", "ff", "fe"]
    copied: list[str] = []
    for entry in minimal.files.scan(place):
        copied.append(minimal.files.read(entry.path))
    assert copied == ["x"]


def test_listings_are_filtered(minimal: Sandbox, place: str) -> None:
    minimal.run(
        "mkdir -p a/b .hidden; touch a/x.py a/b/y.py a/z.txt .hidden/h.py top.py; "
        "ln -s a link; mkfifo pipe",
        cwd=place,
        check=True,
    )

    def names(**filters: Any) -> list[str]:
        return [entry.path[len(place) + 1 :] for entry in minimal.files.list(place, **filters)]

    every = [
        ".hidden", ".hidden/h.py", "a", "a/b", "a/b/y.py", "a/x.py", "a/z.txt", "link", "pipe",
        "top.py",
    ]  # fmt: skip
    assert names(recursive=True) == every
    assert names() == [".hidden", "a", "link", "pipe", "top.py"]
    assert names(depth=2, hidden=False) == [
        "a",
        "a/b",
        "a/x.py",
        "a/z.txt",
        "link",
        "pipe",
        "top.py",
    ]
    assert names(recursive=True, type="directory") == [".hidden", "a", "a/b"]
    assert names(recursive=True, type=["symlink", "fifo"]) == ["link", "pipe"]
    assert names(recursive=True, glob="*.py") == [".hidden/h.py", "a/b/y.py", "a/x.py", "top.py"]
    assert names(recursive=True, glob="a/*.{py,txt}") == ["a/x.py", "a/z.txt"]

    def globbed(pattern: str, **filters: Any) -> list[str]:
        found = minimal.files.glob(pattern, place, **filters)
        return [entry.path[len(place) + 1 :] for entry in found]

    assert globbed("*.py") == ["top.py"]
    assert globbed("**/*.py", hidden=False) == ["a/b/y.py", "a/x.py", "top.py"]
    assert globbed("a/**", type="file") == ["a/b/y.py", "a/x.py", "a/z.txt"]
    pages = [
        entry.path[len(place) + 1 :] for entry in minimal.files.scan(place, recursive=True, page=3)
    ]
    assert pages == every


def test_what_cannot_be_listed_is_an_error_of_its_kind(minimal: Sandbox, place: str) -> None:
    minimal.files.write(f"{place}/file", "x")
    with pytest.raises(FileNotFound):
        minimal.files.list(f"{place}/nothing")
    with pytest.raises(NotADirectory):
        minimal.files.list(f"{place}/file")
    with pytest.raises(IsADirectory):
        minimal.files.read(place)
    with pytest.raises(IsADirectory):
        minimal.files.write(place, "x")
    with pytest.raises(FileExists):
        minimal.files.write(f"{place}/file", "x", exclusive=True)
    with pytest.raises(FileExists):
        minimal.files.move(f"{place}/file", place, replace=False)
    with pytest.raises(FileExists):
        minimal.files.symlink("x", f"{place}/file", replace=True)
    with pytest.raises(FileNotFound):
        minimal.files.remove(f"{place}/nothing", missing_ok=False)
    for wrong in ("[", "/etc/*", ""):
        with pytest.raises(FileError) as caught:
            minimal.files.glob(wrong, place)
        assert caught.value.code == "invalid_request"
    with pytest.raises(FileError, match="no mode"):
        minimal.files.chmod(place, "rwx")
    with pytest.raises(FileError, match="no such user"):
        minimal.files.chown(place, "nobody-of-that-name")
    with pytest.raises(FileError, match="pattern"):
        minimal.files.search("(", place, regex=True)
    assert minimal.files.read(f"{place}/file") == "x"


def test_unknown_parameters_and_fields_change_nothing(
    minimal: Sandbox, place: str, http: httpx.Client
) -> None:
    access = minimal.info().agent
    assert access is not None
    headers = {
        "Wardian-Sandbox-Id": minimal.id,
        "Wardian-Sandbox-Port": "49983",
        "X-Access-Token": access.token,
    }
    for method, call, body in (
        ("GET", f"list?path={place}&colour=red", None),
        ("GET", f"list?path={place}&depth=0", None),
        ("GET", f"list?path={place}&limit=0", None),
        ("GET", f"list?path={place}&cursor=%21", None),
        ("GET", f"list?path={place}&path=/", None),
        ("PUT", f"content?path={place}/new&mode=u%2Bx", b"x"),
        ("PUT", f"content?path={place}/new&create=perhaps", b"x"),
        ("POST", "directory", b'{"path": "%s/new", "colour": "red"}' % place.encode()),
        ("POST", "directory", b'{"path": "%s/new", "path_b64": "Lw=="}' % place.encode()),
        ("POST", "directory", b"{"),
        ("POST", "attributes", b'{"path": "%s"}' % place.encode()),
        ("POST", "attributes", b'{"path": "%s", "mode": 65536}' % place.encode()),
    ):
        answer = http.request(method, f"/v1/files/{call}", content=body, headers=headers)
        assert answer.status_code == 400, (call, answer.text)
        assert answer.json()["error"]["code"] == "invalid_request"
        assert answer.json()["error"]["message"]
    assert http.get("/v1/files/nothing", headers=headers).status_code == 404
    assert http.delete("/v1/files/list", headers=headers).status_code == 405
    assert minimal.files.list(place) == []


def test_a_search_tells_lines_and_their_neighbours(minimal: Sandbox, place: str) -> None:
    files = minimal.files
    files.write(f"{place}/a.txt", "one\ntwo Ünï\nthree\nfour\n")
    files.write(f"{place}/b.bin", b"two\0two")
    files.write(f"{place}/sub/c.txt", "TWO\n")
    result = files.search("tw[o]", place, regex=True, context=1)
    (match,) = result.matches
    assert (match.path, match.line, match.column, match.text) == (f"{place}/a.txt", 2, 1, "two Ünï")
    assert ([c.text for c in match.before], [c.text for c in match.after]) == (["one"], ["three"])
    assert (result.files, result.searched, result.skipped, result.truncated) == (1, 2, 1, False)
    unicode = files.search("ÜNÏ", place, ignore_case=True).matches[0]
    assert unicode.ranges == [(4, 7)] and unicode.column == 5
    assert len(files.search("two", place, ignore_case=True).matches) == 2
    assert [
        m.path for m in files.search("two", place, ignore_case=True, include=["sub/*"]).matches
    ] == [f"{place}/sub/c.txt"]
    assert files.search("two", place, exclude=["*.txt"]).matches == []
    assert files.search("t.o", place).matches == []
    assert files.search("three", f"{place}/a.txt").matches[0].line == 3
    limited = files.search("o", place, limit=1)
    assert len(limited.matches) == 1 and limited.truncated


def test_a_pattern_speaks_of_lines(minimal: Sandbox, place: str) -> None:
    """Whether a file is looked through as a whole first, or line by line, makes no difference."""
    filler = "filler\r\n" * 40_000
    minimal.files.write(f"{place}/file", f"{filler}the end\r\n{filler}end of it")
    for pattern, lines in {
        "end$": [40_001],
        "^end": [80_002],
        r"\Athe": [40_001],
        r"end\z": [40_001],
        "(?i)THE": [40_001],
        r"\bend\b": [40_001, 80_002],
        r"r\s+the": [],
        "[^x]the end": [],
    }.items():
        for context in (0, 1):
            result = minimal.files.search(pattern, place, regex=True, context=context)
            assert [match.line for match in result.matches] == lines, pattern


def test_a_search_leaves_out_what_git_ignores(minimal: Sandbox, place: str) -> None:
    for name in ("kept.py", "build/made.py", "sub/kept.log", "sub/local/x.py", ".git/objects"):
        minimal.files.write(f"{place}/{name}", "needle")
    minimal.files.write(f"{place}/.gitignore", "build/\n*.log\n")
    minimal.files.write(f"{place}/sub/.gitignore", "/local\n!kept.log\n")

    def found(path: str, **options: Any) -> set[str]:
        matches = minimal.files.search("needle", path, **options).matches
        return {match.path[len(place) + 1 :] for match in matches}

    assert found(place, gitignore=True) == {"kept.py", "sub/kept.log"}
    assert len(found(place)) == 5
    # The rules of the repository hold below it too.
    minimal.files.write(f"{place}/sub/other.log", "needle")
    assert found(f"{place}/sub", gitignore=True) == {"sub/kept.log"}


def test_a_search_meets_what_only_looks_like_a_file(minimal: Sandbox, place: str) -> None:
    minimal.run("mkfifo pipe .gitignore; ln -s /proc/self/mem link; ln -s . circle", cwd=place)
    assert minimal.files.search("x", place, gitignore=True).matches == []
    # What shows the kernel is not entered from above.
    assert not [e for e in minimal.files.list("/", depth=2) if e.path.startswith("/proc/")]
    assert minimal.files.list("/proc", depth=1)


def test_replacing(minimal: Sandbox, place: str) -> None:
    files = minimal.files
    files.write(f"{place}/a", "name = old\nother = old\n", mode=0o755)
    files.chown(f"{place}/a", 7)
    files.write(f"{place}/b", b"old\0")
    dry = files.replace("old", "new", place, dry_run=True)
    assert (dry.replacements, len(dry.skipped)) == (2, 1)
    assert files.read(f"{place}/a").count("old") == 2
    with pytest.raises(ReplacementCountMismatch, match="2 times"):
        files.replace("old", "new", f"{place}/a", expected=1)
    assert files.read(f"{place}/a").count("old") == 2
    files.replace(r"^(\w+) = old$", "${1}: $$new", place, regex=True)
    assert files.read(f"{place}/a") == "name: $new\nother: $new\n"
    files.replace("$new", "$1", place)
    assert files.read(f"{place}/a") == "name: $1\nother: $1\n"
    entry = files.stat(f"{place}/a")
    assert (entry.mode, entry.owner) == (0o755, "7")
    with pytest.raises(FileError, match="no text"):
        files.replace("old", "new", f"{place}/b")


def test_attributes_of_a_tree_do_not_follow_links(minimal: Sandbox, place: str) -> None:
    files = minimal.files
    files.write(f"{place}/outside", "x", mode=0o644)
    files.write(f"{place}/tree/in", "x", mode=0o644)
    files.symlink(f"{place}/outside", f"{place}/tree/link")
    files.symlink("/nowhere", f"{place}/tree/dangling")
    files.chmod(f"{place}/tree", 0o700, recursive=True)
    files.chown(f"{place}/tree", 5, "7", recursive=True)
    assert (files.stat(f"{place}/outside").mode, files.stat(f"{place}/outside").owner) == (
        0o644,
        "root",
    )
    inside = files.stat(f"{place}/tree/in")
    assert (inside.mode, inside.owner, inside.group) == (0o700, "5", "7")
    assert files.stat(f"{place}/tree/link").owner == "5"
    # A link that is named is followed.
    files.chmod(f"{place}/tree/link", "u=rw,go=")
    assert files.stat(f"{place}/outside").mode == 0o600


def test_a_directory_of_many_entries_does_not_fill_the_agent(make: Make, node: Any) -> None:
    """Told in pages, in order, while the agent stays small."""
    sandbox = make("base", user="root", limits={"memory_mb": 1024})
    sandbox.run(
        ["python3", "-c", "import os\nos.mkdir('/many')\nos.chdir('/many')\n"
         "for n in range(120_000): os.mknod(f'{n:06}-' + 'x' * 40)"],
        check=True, timeout=300,
    )  # fmt: skip
    agent = host.agent_of(node, sandbox.id)
    _forget_peak(agent.pid)
    previous, count = "", 0
    for entry in sandbox.files.scan("/many", page=25_000):
        assert entry.name > previous
        previous, count = entry.name, count + 1
    assert count == 120_000
    assert _peak_bytes(agent.pid) < 64 * 1024 * 1024


def _forget_peak(pid: int) -> None:
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")


def _peak_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


async def test_readers_see_the_old_or_the_new_file_whole(node: Any) -> None:
    size = 300_000
    async with await AsyncSandbox.create("minimal") as sandbox:
        await sandbox.files.write("/shared", b"0" * size)
        done = asyncio.Event()

        async def read() -> int:
            seen = set[bytes]()
            while not done.is_set():
                data = await sandbox.files.read("/shared", "bytes")
                assert len(data) == size and data == data[:1] * size
                seen.add(data[:1])
            return len(seen)

        async def write() -> None:
            for number in range(60):
                digit = str(number % 10).encode()
                await sandbox.files.write("/shared", digit * size)
            done.set()

        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read()) for _ in range(3)]
            group.create_task(write())
        assert max(reader.result() for reader in readers) > 1
        assert [e.name for e in await sandbox.files.list("/") if "wardian" in e.name] == []


def test_a_client_that_leaves_in_the_middle_leaves_the_old_file(
    minimal: Sandbox, place: str
) -> None:
    minimal.files.write(f"{place}/file", "old")

    def breaks() -> Iterator[bytes]:
        yield b"x" * 3_000_000
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimal.files.write(f"{place}/file", breaks())
    assert minimal.files.read(f"{place}/file") == "old"
    until(lambda: len(minimal.files.list(place)) == 1, "the part is removed")


def test_a_full_disk_leaves_the_old_file(make: Make) -> None:
    sandbox = make(limits={"disk_mb": 64})
    sandbox.files.write("/kept", "old")
    with pytest.raises(DiskFull) as caught:
        sandbox.files.write("/kept", bytes(128 * 1024 * 1024))
    assert caught.value.path == "/kept" and "disk_mb" in (caught.value.hint or "")
    assert sandbox.files.read("/kept") == "old"
    assert sandbox.run("ls -A / | grep part").stdout == ""


def test_ranges_and_conditions(minimal: Sandbox, place: str, http: httpx.Client) -> None:
    path = f"{place}/file"
    minimal.files.write(path, "0123456789")
    access = minimal.info().agent
    assert access is not None
    routing = {
        "Wardian-Sandbox-Id": minimal.id,
        "Wardian-Sandbox-Port": "49983",
        "X-Access-Token": access.token,
    }

    def get(**headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.get("/v1/files/content", params={"path": path}, headers=routing | given)

    whole = get()
    tag = whole.headers["etag"]
    assert (whole.status_code, whole.text) == (200, "0123456789")
    assert get(If_None_Match=tag).status_code == 304
    part = get(Range="bytes=2-4", If_Range=tag)
    assert (part.status_code, part.text) == (206, "234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    assert get(Range="bytes=20-").status_code == 416
    minimal.files.write(path, "9876543210")
    changed = get(Range="bytes=2-4", If_Range=tag)
    assert (changed.status_code, changed.text) == (200, "9876543210")
    assert get(If_None_Match=tag).status_code == 200


def test_what_an_existing_file_keeps(minimal: Sandbox, place: str) -> None:
    files = minimal.files
    files.write(f"{place}/real", "old", mode=0o4750)
    files.chown(f"{place}/real", 9, 9)
    files.symlink("real", f"{place}/link")
    files.write(f"{place}/link", "new")
    entry = files.stat(f"{place}/real")
    assert files.read(f"{place}/real") == "new"
    assert (entry.mode & 0o777, entry.owner, files.stat(f"{place}/link").is_symlink) == (
        0o750,
        "9",
        True,
    )
    files.write(f"{place}/real", "newer", atomic=False)
    assert (files.read(f"{place}/link"), files.stat(f"{place}/real").owner) == ("newer", "9")
    files.symlink("made", f"{place}/to-nowhere")
    files.write(f"{place}/to-nowhere", "x", sync=True)
    assert files.read(f"{place}/made") == "x"
    minimal.run("mkfifo pipe", cwd=place)
    for atomic in (True, False):
        with pytest.raises(FileError):
            files.write(f"{place}/pipe", "x", atomic=atomic)
