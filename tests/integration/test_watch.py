"""What happens to files is told, or that something was missed; never neither."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from wardian import (
    AsyncSandbox,
    Change,
    FileNotFound,
    InvalidRequest,
    NotADirectory,
    Sandbox,
    Watch,
)
from wardian.sdk._errors import FileError

from .conftest import Make
from .host import agent_of, part_of
from .waiting import until

BURST = 50_000
BURST_PROGRAM = f"""
import os
os.makedirs("/tmp/burst/d")
for number in range({BURST}):
    with open(f"/tmp/burst/d/{{number}}", "w") as file:
        file.write("x")
"""
# More than waits for a reader, and nothing that could be told as one.
MOVING_PROGRAM = """
import os
os.chdir("/tmp/burst")
one, other = "a" * 250, "b" * 250
open(one, "w").close()
for _ in range(40_000):
    os.rename(one, other)
    os.rename(other, one)
"""


@pytest.fixture
def root(base: Sandbox, unique: str) -> Iterator[str]:
    """A directory of the test's own."""
    path = f"/tmp/{unique}"
    base.files.mkdir(path)
    yield path
    base.files.remove(path)


def collect(watch: Watch, enough: Callable[[list[Change]], bool]) -> list[Change]:
    """Changes as they come, until there are enough; a test that gets too few hangs until the
    stream's own silence limit fails it."""
    seen: list[Change] = []
    for change in watch:
        seen.append(change)
        if enough(seen):
            return seen
    raise AssertionError(f"the watch ended after {seen}")


@contextmanager
def ticking(sandbox: Sandbox, path: str) -> Iterator[None]:
    """A file that is written again and again. What happened while events were lost is not told, so
    one write after a burst may not be; of these one will."""
    loop = sandbox.spawn(["sh", "-c", 'while :; do echo >> "$0"; sleep 0.1; done', path])
    try:
        yield
    finally:
        loop.kill()


def until_written(watch: Watch, sandbox: Sandbox, path: str) -> list[tuple[str, str]]:
    """What is told until a file made now is: its name below the root is `end`."""
    sandbox.run(["touch", f"{path}/end"], check=True)
    seen = collect(watch, lambda changes: changes[-1].path == f"{path}/end")
    return [(c.type, c.path.removeprefix(f"{path}/")) for c in seen[:-1]]


def test_each_kind_of_change_is_told(base: Sandbox, root: str) -> None:
    with base.files.watch(root) as watch:
        base.run("echo x > f; chmod 600 f; mkdir d", cwd=root, check=True)
        # Told, the directory is watched: only then is a move into it one event.
        seen = collect(watch, lambda c: c[-1].path == f"{root}/d")
        base.run("mv f d/g; rm d/g; rmdir d", cwd=root, check=True)
        seen += collect(watch, lambda c: c[-1].type == "remove" and c[-1].path == f"{root}/d")
    told = {(c.type, c.path, c.from_path, c.is_directory) for c in seen}
    assert {
        ("create", f"{root}/f", None, False),
        ("write", f"{root}/f", None, False),
        ("chmod", f"{root}/f", None, False),
        ("create", f"{root}/d", None, True),
        ("rename", f"{root}/d/g", f"{root}/f", False),
        ("remove", f"{root}/d/g", None, False),
        ("remove", f"{root}/d", None, True),
    } == told
    numbers = [int((c.cursor or "").rpartition("-")[2]) for c in seen]
    assert numbers == sorted(set(numbers)), "cursors grow"


def test_a_move_over_the_edge_is_a_coming_or_a_going(base: Sandbox, root: str) -> None:
    base.run("mkdir -p in out/d; touch out/d/f", cwd=root, check=True)
    with base.files.watch(f"{root}/in") as watch:
        base.run("mv out/d in/d", cwd=root, check=True)
        seen = collect(watch, lambda c: c[-1].path.endswith("/d/f"))
        assert [(c.type, c.path) for c in seen] == [
            ("create", f"{root}/in/d"),
            ("create", f"{root}/in/d/f"),
        ]
        # Where a name went is waited for a moment: its going may be told after what followed.
        base.run("mv in/d out/e; touch out/e/unseen; touch in/end", cwd=root, check=True)
        ends = {f"{root}/in/d", f"{root}/in/end"}
        seen = collect(watch, lambda c: ends <= {each.path for each in c})
        gone = [c for c in seen if c.type == "remove"]
        assert [(c.path, c.is_directory) for c in gone] == [(f"{root}/in/d", True)]
        assert [c.path for c in seen if "unseen" in c.path] == []


TREES = {
    "copy": "cp -r ../{name}-source/. .",
    "tar": "tar -C ../{name}-source -cf - . | tar xf -",
    "git": "git clone -q ../{name}-source/.git repo && cd repo && git checkout -q other",
}


@pytest.mark.parametrize("way", TREES)
def test_a_tree_made_in_one_go_is_told_whole(
    base: Sandbox, root: str, unique: str, way: str
) -> None:
    source = f"{root}-source"
    base.run(
        f"mkdir -p {source}; cd {source}; git init -q; "
        "for n in $(seq 12); do mkdir -p d$n/e/f; for m in $(seq 12); do "
        "echo $m > d$n/$m; echo $m > d$n/e/f/$m; done; done; "
        "git add -A; git -c user.name=a -c user.email=b commit -qm all; git checkout -q -b other; "
        "mkdir -p new/er; echo x > new/er/file; git rm -rq d1; git add -A; "
        "git -c user.name=a -c user.email=b commit -qm other; git checkout -q -",
        check=True,
    )
    with base.files.watch(root, exclude=".git") as watch:
        base.run(TREES[way].format(name=unique), cwd=root, check=True)
        told = until_written(watch, base, root)
    there: dict[str, None] = {}
    for kind, path in told:
        assert kind != "resync"
        if kind == "create":
            there[path] = None
        elif kind == "remove":
            for name in [n for n in there if n == path or n.startswith(f"{path}/")]:
                del there[name]
    listing = base.run("find . -mindepth 1 -not -path '*/.git*'", cwd=root, check=True).stdout
    actual = {line.removeprefix("./") for line in listing.split()} - {"end"}
    assert there.keys() == actual
    assert len(actual) > 150
    creates = [path for kind, path in told if kind == "create"]
    assert len(creates) - len(set(creates)) < len(creates) // 10, "no duplicates to speak of"
    base.files.remove(source)


def test_a_burst_is_seen_whole_or_a_resync_told(node: Any, make: Make) -> None:
    sandbox = make("base")
    sandbox.files.mkdir("/tmp/burst")
    sandbox.files.write("/tmp/burst.py", BURST_PROGRAM)
    start = sandbox.files.changes("/tmp/burst").cursor
    before = agent_of(node, sandbox.id).resident_bytes
    with sandbox.files.watch("/tmp/burst") as watch:
        sandbox.run(["python3", "/tmp/burst.py"], check=True, timeout=120)
        with ticking(sandbox, "/tmp/burst/end"):
            seen = collect(watch, lambda c: c[-1].path == "/tmp/burst/end")
    lost = any(c.type == "resync" for c in seen)
    created = {c.path for c in seen if c.type == "create" and "/d/" in c.path}
    assert lost or len(created) == BURST
    away = sandbox.files.changes("/tmp/burst", since=start)
    named = {c.path for c in away.changes if "/d/" in c.path}
    assert away.resync or len(named) == BURST
    assert len(away.changes) == len({c.path for c in away.changes})
    grown = agent_of(node, sandbox.id).resident_bytes - before
    assert grown < 96 * 1024 * 1024, f"{grown} bytes more"


def test_a_reader_that_falls_behind_is_told_and_nobody_waits_for_it(make: Make) -> None:
    sandbox = make("base")
    sandbox.files.mkdir("/tmp/burst")
    sandbox.files.write("/tmp/burst.py", MOVING_PROGRAM)
    with sandbox.files.watch("/tmp/burst") as slow, sandbox.files.watch("/tmp/burst") as live:
        ended = threading.Event()

        def read() -> None:
            for change in live:
                if change.path == "/tmp/burst/end":
                    break
            ended.set()

        reader = threading.Thread(target=read)
        reader.start()
        sandbox.run(["python3", "/tmp/burst.py"], check=True, timeout=120)
        with ticking(sandbox, "/tmp/burst/end"):
            assert ended.wait(100), "the live reader has all while the other reads nothing"
            reader.join()
            seen = collect(slow, lambda c: c[-1].path == "/tmp/burst/end")
    assert {c.reason for c in seen if c.type == "resync"} <= {"slow_reader", "overflow"}
    assert any(c.type == "resync" for c in seen)


def test_include_and_exclude(base: Sandbox, root: str) -> None:
    base.run("mkdir -p src/deep node_modules/x", cwd=root, check=True)
    with base.files.watch(
        root, include=["*.py", "end"], exclude=["node_modules", "test_*"]
    ) as watch:
        base.run(
            "touch src/deep/a.py src/a.txt src/test_a.py node_modules/x/b.py b.py",
            cwd=root,
            check=True,
        )
        told = until_written(watch, base, root)
    assert {path for _, path in told} == {"src/deep/a.py", "b.py"}


def test_not_recursive_is_the_directory_alone(base: Sandbox, root: str) -> None:
    base.run("mkdir d", cwd=root, check=True)
    with base.files.watch(root, recursive=False) as watch:
        base.run("touch d/inner; touch outer", cwd=root, check=True)
        told = until_written(watch, base, root)
    assert {path for _, path in told} == {"outer"}


def test_links_are_not_followed(base: Sandbox, root: str) -> None:
    base.run("mkdir -p w other; ln -s ../other w/link; ln -s w byname", cwd=root, check=True)
    with base.files.watch(f"{root}/byname") as watch:
        base.run("touch w/link/unseen; touch w/end", cwd=root, check=True)
        seen = collect(watch, lambda c: c[-1].path.endswith("/end"))
    assert [c.path for c in seen] == [f"{root}/byname/end"], "but a root that is one is"


def test_odd_names(base: Sandbox, root: str) -> None:
    name = os.fsdecode(b"\xff\xfe new\nline -rf")
    with base.files.watch(root) as watch:
        base.run(["bash", "-c", r"touch $'\xff\xfe new\nline -rf'"], cwd=root, check=True)
        seen = collect(watch, lambda c: len(c) == 1)
    assert seen[0].path == f"{root}/{name}"
    changes = base.files.changes(root, since=seen[0].cursor)
    assert {c.path for c in changes.changes} <= {f"{root}/{name}"}


def test_cursors(base: Sandbox, root: str) -> None:
    first = base.files.changes(root)
    assert first.changes == [] and not first.resync
    base.run(
        "mkdir d; echo 1 > d/f; echo 2 > d/f; echo 3 > d/f; touch g; rm g", cwd=root, check=True
    )
    second = base.files.changes(root, since=first.cursor)
    assert not second.resync
    told = {c.path.removeprefix(f"{root}/"): c.type for c in second.changes}
    assert told == {"d": "create", "d/f": "create", "g": "remove"}
    assert base.files.changes(root, since=second.cursor).changes == []
    base.run("echo 4 > d/f; mv d e", cwd=root, check=True)
    third = base.files.changes(root, since=second.cursor)
    told = {c.path.removeprefix(f"{root}/"): c.type for c in third.changes}
    assert told == {"d": "remove", "e": "create", "e/f": "create"}
    again = base.files.changes(root, since=second.cursor)
    assert again == third, "a cursor is not used up"


@pytest.mark.parametrize("cursor", ["0123456789abcdef-7", "nonsense", ""])
def test_a_cursor_of_another_life_is_a_resync(base: Sandbox, root: str, cursor: str) -> None:
    answer = base.files.changes(root, since=cursor)
    assert answer.resync and answer.changes == []
    assert not base.files.changes(root, since=answer.cursor).resync
    with base.files.watch(root, since=cursor) as watch:
        assert next(watch).reason == "cursor_expired"


def test_a_stream_goes_on_where_another_ended(base: Sandbox, root: str) -> None:
    with base.files.watch(root) as watch:
        base.run("touch a", cwd=root, check=True)
        until(lambda: next(watch).path.endswith("/a"), "the first change")
        cursor = watch.cursor
    base.run("touch b; touch a", cwd=root, check=True)
    with base.files.watch(root, since=cursor) as watch:
        told = until_written(watch, base, root)
    assert ("create", "b") in told
    assert ("create", "a") not in told, "what was told is not told again"


@pytest.mark.parametrize("part", ["edge", "control"])
def test_a_watch_lives_through_a_restart_of_the(node: Any, make: Make, part: str) -> None:
    sandbox = make("base")
    sandbox.files.mkdir("/tmp/w")
    with sandbox.files.watch("/tmp/w") as watch:
        os.kill(part_of(node.supervisor, part).pid, signal.SIGKILL)
        until(lambda: sandbox.run(["touch", "/tmp/w/during"]).ok, "a command")
        seen = collect(watch, lambda c: c[-1].path == "/tmp/w/during")
    assert next(c.type for c in seen if c.path == "/tmp/w/during") == "create"
    assert not any(c.type == "resync" for c in seen)


def test_a_client_that_left_holds_nothing(node: Any, make: Make) -> None:
    sandbox = make()
    sandbox.files.mkdir("/tmp/w")

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{agent_of(node, sandbox.id).pid}/fd"))

    sandbox.files.changes("/tmp/w")
    before = descriptors()
    watches = [sandbox.files.watch("/tmp/w") for _ in range(20)]
    for watch in watches:
        watch.close()
    # A few connections of the edge are kept for later.
    until(lambda: descriptors() <= before + 16, "the streams' end")
    for number in range(100):
        sandbox.files.changes("/tmp/w", exclude=[str(number)])
    assert descriptors() < before + 2 * 64 + 16, "old records make room for new ones"


def test_a_root_that_goes_ends_the_watch(base: Sandbox, root: str) -> None:
    base.run("mkdir w", cwd=root, check=True)
    cursor = base.files.changes(f"{root}/w").cursor
    with base.files.watch(f"{root}/w") as watch:
        base.run("mv w v; mkdir w", cwd=root, check=True)
        with pytest.raises(FileNotFound):
            collect(watch, lambda _: False)
    assert base.files.changes(f"{root}/w", since=cursor).resync


def test_what_cannot_be_watched_is_refused(base: Sandbox, root: str, http: httpx.Client) -> None:
    base.files.write(f"{root}/file", "x")
    with pytest.raises(FileNotFound):
        base.files.watch(f"{root}/absent")
    with pytest.raises(NotADirectory):
        base.files.watch(f"{root}/file")
    with pytest.raises(FileError) as caught:
        base.files.watch(root, include="[")
    assert caught.value.code == "invalid_request"
    with pytest.raises(FileNotFound):
        base.files.changes(f"{root}/absent")
    agent = base._agent
    assert agent is not None
    for query in ([("path", root), ("recursive", "maybe")], [("path", root), ("x", "1")], []):
        with pytest.raises(InvalidRequest):
            agent.rest("GET", "watch/changes", dict, query=query)


def test_asyncio(base: Sandbox, root: str) -> None:
    async def go() -> list[str]:
        sandbox = await AsyncSandbox.get(base.id)
        told: list[str] = []
        async with await sandbox.files.watch(root) as watch:
            await sandbox.files.write(f"{root}/f", "x")
            async for change in watch:
                told.append(change.type)
                if change.type == "write":
                    return told
        return told

    assert asyncio.run(go())[0] == "create"


def test_another_thread_can_end_a_watch(base: Sandbox, root: str) -> None:
    watch = base.files.watch(root)
    seen: list[Change] = []
    reader = threading.Thread(target=lambda: seen.extend(watch), daemon=True)
    reader.start()
    base.run(["touch", f"{root}/f"], check=True)
    until(lambda: seen, "a change in the other thread")
    watch.close()
    reader.join(30)
    assert not reader.is_alive()
