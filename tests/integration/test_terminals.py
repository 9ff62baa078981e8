"""Terminals over the SDK: made, shared, left, found again, ended."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from wardian import (
    AsyncSandbox,
    ConnectionFailed,
    InvalidRequest,
    NoCapacity,
    RequestTimeout,
    Sandbox,
    Terminal,
    TerminalNotFound,
)

from . import waiting
from .conftest import Make

PATIENCE = 60


def read_until(terminal: Terminal, wanted: bytes, seen: bytes = b"") -> bytes:
    """All output up to where `wanted` has been seen."""
    while wanted not in seen:
        data = terminal.receive(PATIENCE)
        assert data, f"the terminal ended; it showed {seen[-500:]!r}"
        seen += data
    return seen


def test_the_shell_has_a_terminal_as_programs_expect_it(base: Sandbox) -> None:
    with base.terminal(cols=100, rows=30) as terminal:
        terminal.send("stty size; echo $TERM $COLORTERM $LANG [$PWD] $0 $SHELL; id -un; tty\n")
        seen = read_until(terminal, b"/dev/pts/")
        assert b"30 100" in seen
        assert b"xterm-256color truecolor C.UTF-8 [/home/user] /bin/bash /bin/bash" in seen
        assert b"\r\nuser\r\n" in seen
        terminal.send("exit 7\n")
        assert terminal.wait() == 7
        assert terminal.signal is None
        assert terminal.receive() == b""


def test_a_template_with_nothing_but_sh_has_terminals_too(minimal: Sandbox) -> None:
    with minimal.terminal(env={"GREETING": "hello there"}, cwd="/etc") as terminal:
        terminal.send('echo "<$GREETING $PWD>"\n')
        read_until(terminal, b"<hello there /etc>")
        terminal.kill()
    with pytest.raises(TerminalNotFound):
        minimal.terminal(terminal.name, create=False)


def test_several_share_one_and_it_lives_on_without_them(base: Sandbox, unique: str) -> None:
    with base.terminal(unique) as first, base.terminal(unique) as second:
        first.send("A=fir; B=st; echo $A$B\n")
        read_until(second, b"first")
        second.send("A=sec; B=ond; echo $A$B\n")
        read_until(first, b"second")
        assert first.info().clients == 2
        pid = first.info().pid
    waiting.until(
        lambda: [t.clients for t in base.terminals() if t.name == unique] == [0], "both detached"
    )
    with base.terminal(unique) as again:
        shown = read_until(again, b"second")
        assert b"first" in shown, "what was shown before is shown again"
        again.send("echo $A$B\n")
        read_until(again, b"second\r\n", shown.replace(b"second\r\n", b""))
        assert again.info().pid == pid
        again.kill()


def test_keys_arrive_in_order_and_whole(base: Sandbox, unique: str) -> None:
    lines = [f"{n} {'x' * (n % 50)} é€😀\n" for n in range(3000)]
    text = "".join(lines).encode()
    argv = ["bash", "-c", f"stty raw -echo; echo ready; head -c {len(text)} > /tmp/{unique}"]
    with base.terminal(argv=argv) as terminal:
        read_until(terminal, b"ready")
        for line in lines:
            terminal.send(line)
        assert terminal.wait() == 0
    assert base.files.read(f"/tmp/{unique}", "bytes") == text


def test_a_long_paste_to_a_program_that_does_not_read_yet(base: Sandbox, unique: str) -> None:
    paste = bytes(range(256)) * 8192
    argv = [
        "bash",
        "-c",
        f"stty raw -echo; echo ready; until [ -e /tmp/{unique}.go ]; do sleep 0.05; done; "
        f"head -c {len(paste)} | sha256sum",
    ]
    with base.terminal(argv=argv) as terminal:
        read_until(terminal, b"ready")
        terminal.send(paste)
        with base.terminal(terminal.name, create=False) as other:
            assert b"ready" in other.receive(PATIENCE)
        base.files.write(f"/tmp/{unique}.go", "")
        read_until(terminal, hashlib.sha256(paste).hexdigest().encode())
        assert terminal.wait() == 0


def test_all_output_comes_before_the_exit(base: Sandbox) -> None:
    for _ in range(5):
        with base.terminal(argv=["seq", "1", "20000"]) as terminal:
            seen = b"".join(terminal)
            assert seen.endswith(b"19999\r\n20000\r\n")
            assert terminal.exit_code == 0
    with base.terminal(argv=["sh", "-c", "kill -TERM $$"]) as terminal:
        assert (terminal.wait(), terminal.signal) == (143, "SIGTERM")


def test_the_last_to_resize_wins(base: Sandbox, unique: str) -> None:
    # Not the interactive shell: a signal that reaches bash just before its prompt waits for a line.
    program = "trap 'echo [$(stty size)]' WINCH; echo set; while :; do sleep 0.1; done"
    with base.terminal(unique, argv=["sh", "-c", program], cols=80, rows=24) as first:
        read_until(first, b"set\r\n")
        first.resize(101, 41)
        read_until(first, b"[41 101]")
        with base.terminal(unique, cols=60, rows=20):
            read_until(first, b"[20 60]")
        assert (first.info().cols, first.info().rows) == (60, 20)
        for cols, rows in ((0, 24), (80, -1), (5000, 24)):
            with pytest.raises(ValueError):
                first.resize(cols, rows)
        first.kill()


def test_one_that_has_ended_tells_late_readers(base: Sandbox, unique: str) -> None:
    with base.terminal(unique, argv=["sh", "-c", "echo last words; exit 5"]) as terminal:
        assert terminal.wait() == 5
    info = terminal.info()
    assert (info.state, info.exit_code) == ("ended", 5)
    with base.terminal(unique, create=False) as late:
        assert b"last words" in b"".join(late)
        assert late.exit_code == 5
    with base.terminal(unique) as fresh:
        assert fresh.info().state == "running", "who asks for a terminal gets one that works"
        fresh.kill()


def test_kill_ends_what_ignores_the_hangup_and_what_has_left(base: Sandbox, unique: str) -> None:
    script = (
        f"trap '' HUP; setsid sh -c 'trap \"\" HUP; echo $$ > /tmp/{unique}; sleep 600' & "
        f"until [ -s /tmp/{unique} ]; do sleep 0.01; done; echo ready; while :; do sleep 1; done"
    )
    with base.terminal(unique, argv=["bash", "-c", script]) as terminal:
        read_until(terminal, b"ready")
        daemon = int(base.files.read(f"/tmp/{unique}"))
        pid = terminal.info().pid
        base.kill_terminal(unique)
        assert terminal.wait() == 137
    for each in (pid, daemon):
        waiting.until(lambda each=each: base.run(f"test ! -e /proc/{each}").exit_code == 0, "dead")
    with pytest.raises(TerminalNotFound):
        base.kill_terminal(unique)


def test_what_can_not_be_had_is_refused(base: Sandbox) -> None:
    for wrong in (
        {"user": "nobody-of-that-name"},
        {"cwd": "/no/such/directory"},
        {"argv": ["no-such-program"]},
        {"argv": []},
        {"name": "Not A Name"},
        {"name": "new"},
        {"env": {"A=B": "c"}},
        {"cols": 0},
    ):
        with pytest.raises(InvalidRequest):
            base.terminal(**wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TerminalNotFound):
        base.terminal("never-made", create=False)


def test_there_is_a_limit_and_ended_ones_make_room(make: Make) -> None:
    sandbox = make()
    sandbox.terminal("ended", argv=["true"]).wait()
    held = [sandbox.terminal(f"t{n}", argv=["cat"]) for n in range(63)]
    held.append(sandbox.terminal("t63", argv=["cat"]))
    assert "ended" not in [t.name for t in sandbox.terminals()]
    with pytest.raises(NoCapacity):
        sandbox.terminal("one-more", argv=["cat"])
    held.pop().kill()
    held.append(sandbox.terminal("one-more", argv=["cat"]))
    for terminal in held:
        terminal.close()


def test_waiting_has_an_end_where_one_is_asked_for(base: Sandbox) -> None:
    with base.terminal(argv=["cat"]) as terminal:
        with pytest.raises(RequestTimeout):
            terminal.receive(0.05)
        terminal.send("still here\n")
        read_until(terminal, b"still here")
    with pytest.raises(ConnectionFailed):
        terminal.send("too late")
    base.kill_terminal(terminal.name)


async def test_the_same_for_asyncio(base: Sandbox, unique: str) -> None:
    sandbox = await AsyncSandbox.get(base.id)
    async with await sandbox.terminal(unique) as terminal:
        await terminal.send("stty size; exit 3\n")
        seen = b""
        async for data in terminal:
            seen += data
        assert b"24 80" in seen
        assert terminal.exit_code == 3
    assert unique in [t.name for t in await sandbox.terminals()]
    await sandbox.kill_terminal(unique)


def test_the_guide_says_what_is_so(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    guide = Path(__file__).parents[2] / "docs/guides/terminals.md"
    example = guide.read_text().split("```python\n")[1].split("```")[0]
    assert "sandbox.terminal(" in example
    exec(compile(example, str(guide), "exec"), {})
    assert capsys.readouterr().out == "True 3\n"
