"""Drives an agent with the unmodified ``e2b`` package, whose environment runs this file.

Prints one JSON line per check: its name, and what was seen or the traceback of what went wrong.
What ought to be seen is in test_e2b_agent.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from e2b import (
    AsyncSandbox,
    CommandExitException,
    FilesystemEventType,
    PtySize,
    Sandbox,
)

CHECKS: list[Callable[[], Any]] = []


def check(function: Callable[[], Any]) -> Callable[[], Any]:
    CHECKS.append(function)
    return function


def raised(function: Callable[[], Any]) -> str:
    """The name of what a call raises."""
    try:
        function()
    except Exception as error:
        return type(error).__name__
    return "nothing"


def until(condition: Callable[[], bool], patience: float = 20) -> None:
    """Waits for something that another process does."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.02)


box = Sandbox.create()


@check
def run() -> Any:
    result = box.commands.run("echo out; echo err >&2")
    return [result.stdout, result.stderr, result.exit_code, result.error]


@check
def run_failing() -> Any:
    try:
        box.commands.run("echo partial; exit 7")
    except CommandExitException as error:
        return [error.exit_code, error.stdout]
    return None


@check
def users() -> Any:
    return [
        box.commands.run("whoami; pwd; echo $HOME $USER $LOGNAME", user="user").stdout,
        box.commands.run("whoami; pwd", user="root").stdout,
        box.commands.run("id -Gn", user="user").stdout,
        raised(lambda: box.commands.run("true", user="nobody-here")),
    ]


@check
def environment_and_directory() -> Any:
    result = box.commands.run("echo $A; pwd", envs={"A": 'it\'s "x"\n$y'}, cwd="/usr/lib")
    return [result.stdout, raised(lambda: box.commands.run("true", cwd="/no/such"))]


@check
def unicode_and_binary() -> Any:
    return [
        box.commands.run("echo 'žluťoučký 🐎'").stdout,
        box.commands.run("printf '\\377\\376'").stdout,
    ]


@check
def streaming() -> Any:
    seen: list[list[str]] = []
    box.commands.run(
        "for i in 1 2 3; do echo o$i; echo e$i >&2; sleep 0.05; done",
        on_stdout=lambda text: seen.append(["out", text]),
        on_stderr=lambda text: seen.append(["err", text]),
    )
    return ["".join(t for kind, t in seen if kind == k) for k in ("out", "err")]


@check
def large_output() -> Any:
    result = box.commands.run("head -c 20000000 /dev/zero | tr '\\0' x")
    return [len(result.stdout), set(result.stdout) == {"x"}]


@check
def timeout() -> Any:
    marker = "sleep 4321"
    name = raised(
        lambda: box.commands.run(f"setsid {marker} & (setsid {marker} &) ; sleep 99", timeout=0.5)
    )
    until(lambda: box.commands.run(f"pgrep -fx '{marker}' | wc -l").stdout.strip() == "0")
    return name


@check
def background() -> Any:
    handle = box.commands.run("sleep 0.2; echo done", background=True)
    listed = [p.pid for p in box.commands.list()]
    result = handle.wait()
    return [handle.pid in listed, result.stdout, handle.pid in [p.pid for p in box.commands.list()]]


@check
def listing() -> Any:
    handle = box.commands.run("sleep 50", background=True, envs={"K": "v"}, cwd="/usr")
    found = [p for p in box.commands.list() if p.pid == handle.pid]
    handle.kill()
    return [[p.cmd, list(p.args), dict(p.envs), p.cwd] for p in found]


@check
def standard_input() -> Any:
    handle = box.commands.run("read a; echo got:$a; cat", background=True, stdin=True)
    box.commands.send_stdin(handle.pid, "first\n")
    box.commands.send_stdin(handle.pid, "rest")
    box.commands.close_stdin(handle.pid)
    return handle.wait().stdout


@check
def no_standard_input() -> Any:
    return box.commands.run("cat; echo over").stdout


@check
def kill() -> Any:
    handle = box.commands.run("sleep 50", background=True)
    first = box.commands.kill(handle.pid)
    ended = raised(handle.wait)
    return [first, ended, box.commands.kill(handle.pid), box.commands.kill(999_999)]


@check
def connect() -> Any:
    handle = box.commands.run("read x; echo got $x", background=True, stdin=True)
    other = box.commands.connect(handle.pid)
    box.commands.send_stdin(handle.pid, "it\n")
    return [other.pid == handle.pid, handle.wait().stdout, other.wait().stdout]


@check
def connect_late() -> Any:
    handle = box.commands.run("exit 5", background=True)
    raised(handle.wait)
    try:
        box.commands.connect(handle.pid).wait()
    except CommandExitException as error:
        return error.exit_code
    return None


@check
def disconnect() -> Any:
    handle = box.commands.run(
        "sleep 1; echo alive > /home/user/survivor", background=True, user="user"
    )
    handle.disconnect()
    until(lambda: box.files.exists("/home/user/survivor"))
    return box.files.read("/home/user/survivor")


@check
def files_round_trip() -> Any:
    written = box.files.write("a/b/text.txt", "hello ž", user="user")
    data = bytes(range(256)) * 1000
    box.files.write("/home/user/data.bin", data, user="user")
    streamed = b"".join(box.files.read("/home/user/data.bin", format="stream"))
    return [
        [written.name, written.path],
        box.files.read("/home/user/a/b/text.txt"),
        bytes(box.files.read("/home/user/data.bin", format="bytes")) == data,
        streamed == data,
        bytes(box.files.read("/home/user/data.bin", format="bytes", gzip=True)) == data,
        box.commands.run("stat -c '%U:%G %a' /home/user/a /home/user/a/b/text.txt").stdout,
    ]


@check
def files_gzip_up() -> Any:
    box.files.write("/home/user/zipped", "z" * 100_000, gzip=True)
    return len(box.files.read("/home/user/zipped"))


@check
def files_multipart() -> Any:
    box.files.write("/home/user/multi.txt", "by form", use_octet_stream=False)
    return box.files.read("/home/user/multi.txt")


@check
def files_many() -> Any:
    entries = [{"path": f"/home/user/many/{n}.txt", "data": f"{n}"} for n in range(5)]
    one = box.files.write_files(entries, use_octet_stream=False)
    two = box.files.write_files(entries)
    return [
        [w.path for w in one] == [w.path for w in two] == [e["path"] for e in entries],
        [box.files.read(w.path) for w in one],
    ]


@check
def files_metadata() -> Any:
    box.files.write("/home/user/m.txt", "1", metadata={"Key": "value one", "b": "2"})
    first = box.files.get_info("/home/user/m.txt").metadata
    box.files.write("/home/user/m.txt", "1", metadata={"c": "3"})
    return [first, box.files.get_info("/home/user/m.txt").metadata]


@check
def files_list() -> Any:
    box.commands.run("mkdir -p /home/user/l/x/y && touch /home/user/l/f /home/user/l/x/y/z")
    shallow = box.files.list("/home/user/l")
    deep = box.files.list("/home/user/l", depth=3)
    return [
        [[e.name, e.type.value if e.type else None] for e in shallow],
        [e.path for e in deep],
        raised(lambda: box.files.list("/home/user/l/f")),
        raised(lambda: box.files.list("/home/user/none")),
    ]


@check
def files_info() -> Any:
    box.files.write("/home/user/info.txt", "12345", user="user")
    box.commands.run("ln -s info.txt /home/user/link")
    info = box.files.get_info("/home/user/info.txt")
    link = box.files.get_info("/home/user/link")
    return [
        [info.name, info.type.value if info.type else None, info.path, info.size],
        [info.mode, info.permissions, info.owner, info.group],
        info.modified_time.year >= 2020,
        [link.name, link.symlink_target],
    ]


@check
def files_exists_rename_remove() -> Any:
    box.files.write("/home/user/old", "x")
    moved = box.files.rename("/home/user/old", "/home/user/deep/new")
    seen = [box.files.exists("/home/user/old"), box.files.exists("/home/user/deep/new")]
    box.files.remove("/home/user/deep")
    return [
        moved.path,
        seen,
        box.files.exists("/home/user/deep"),
        raised(lambda: box.files.rename("/home/user/old", "/home/user/newer")),
        raised(lambda: box.files.read("/home/user/old")),
        box.files.remove("/home/user/never"),
    ]


@check
def files_make_dir() -> Any:
    return [
        box.files.make_dir("/home/user/made/inner", user="user"),
        box.files.make_dir("/home/user/made/inner", user="user"),
        box.commands.run("stat -c %U /home/user/made /home/user/made/inner").stdout,
    ]


@check
def files_errors() -> Any:
    box.files.write("/home/user/plain", "x")
    return [
        raised(lambda: box.files.read("/home/user")),
        raised(lambda: box.files.write("/home/user/plain/below", "x")),
        raised(lambda: box.files.read("/home/user/plain", user="nobody-here")),
    ]


@check
def terminal() -> Any:
    output = bytearray()
    pty = box.pty.create(
        PtySize(rows=30, cols=100), user="user", cwd="/home/user", envs={"PS1": "$ "}
    )

    def listen() -> None:
        try:
            for _, _, data in pty:
                output.extend(data or b"")
        except Exception as error:
            output.extend(f"[{type(error).__name__}]".encode())

    listener = threading.Thread(target=listen)
    listener.start()
    box.pty.send_stdin(pty.pid, b"stty size; tty; whoami; echo $TERM\n")
    until(lambda: b"xterm-256color" in output)
    box.pty.resize(pty.pid, PtySize(rows=40, cols=120))
    box.pty.send_stdin(pty.pid, b"stty size; echo re''sized\n")
    until(lambda: b"resized" in output)
    killed = box.pty.kill(pty.pid)
    listener.join(20)
    return [
        [text in output for text in (b"30 100", b"/dev/pts/", b"user", b"40 120")],
        killed,
        listener.is_alive(),
        box.pty.kill(pty.pid),
    ]


@check
def terminal_exit() -> Any:
    pty = box.pty.create(PtySize(rows=24, cols=80))
    box.pty.send_stdin(pty.pid, b"exit 3\n")
    try:
        pty.wait()
    except CommandExitException as error:
        return error.exit_code
    return 0


@check
def watch_polling() -> Any:
    box.files.make_dir("/home/user/watched")
    box.files.write("/home/user/watched/file", "1")
    handle = box.files.watch_dir("/home/user/watched", recursive=True)
    box.files.write("/home/user/watched/file", "22")
    box.files.write("/home/user/watched/new/deep/inner", "x")
    box.files.rename("/home/user/watched/file", "/home/user/watched/moved")
    box.files.remove("/home/user/watched/moved")
    seen: list[tuple[str, str]] = []

    def enough() -> bool:
        seen.extend((e.name, e.type.value) for e in handle.get_new_events())
        return ("moved", FilesystemEventType.REMOVE.value) in seen

    until(enough)
    handle.stop()
    wanted = [
        ("file", "write"),
        ("new", "create"),
        ("new/deep", "create"),
        ("new/deep/inner", "create"),
        ("file", "rename"),
        ("moved", "create"),
        ("moved", "remove"),
    ]
    missing = [w for w in wanted if w not in seen]
    return [missing, raised(handle.get_new_events), raised(lambda: box.files.watch_dir("/none"))]


@check
def watch_stream() -> Any:
    async def watch() -> Any:
        sandbox = await AsyncSandbox.create()
        await sandbox.files.make_dir("/home/user/streamed")
        seen: list[tuple[str, str, bool]] = []
        arrived = asyncio.Event()

        def on_event(event: Any) -> None:
            entry = event.entry is not None and event.entry.path.endswith(event.name)
            seen.append((event.name, event.type.value, entry))
            if event.name == "b/c" and event.type == FilesystemEventType.WRITE:
                arrived.set()

        handle = await sandbox.files.watch_dir(
            "/home/user/streamed", on_event=on_event, recursive=True, include_entry=True
        )
        await sandbox.files.write("/home/user/streamed/a", "x")
        await sandbox.files.write("/home/user/streamed/b/c", "y")
        async with asyncio.timeout(20):
            await arrived.wait()
        await handle.stop()
        return [
            e in seen
            for e in [("a", "create", True), ("b", "create", True), ("b/c", "create", True)]
        ]

    return asyncio.run(watch())


@check
def many_at_once() -> Any:
    async def many() -> Any:
        sandbox = await AsyncSandbox.create()
        results = await asyncio.gather(*(sandbox.commands.run(f"echo {n}") for n in range(40)))
        return [r.stdout.strip() for r in results] == [str(n) for n in range(40)]

    return asyncio.run(many())


def main() -> None:
    for function in CHECKS:
        line: dict[str, Any] = {"check": function.__name__}
        try:
            line["seen"] = function()
        except Exception:
            line["error"] = traceback.format_exc()
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
    # The package's native HTTP client now and then crashes while the interpreter shuts down.
    os._exit(0)
