"""Sessions over the SDK: what persists, for whom, through what."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from wardian import (
    AsyncSandbox,
    CommandFailed,
    CommandResult,
    CommandTimeout,
    InvalidArgument,
    InvalidRequest,
    Sandbox,
    SessionDirectoryGone,
    SessionEnded,
    SessionExists,
    SessionNotFound,
    SessionNotKept,
    Unsupported,
)

from . import waiting
from .conftest import Make
from .host import part_of


def kill(node: Any, part: str) -> None:
    """kill -9."""
    victim = part_of(node.supervisor, part)
    os.kill(victim.pid, signal.SIGKILL)


def test_a_shell_goes_on_from_command_to_command(base: Sandbox) -> None:
    with base.session(cwd="/tmp", env={"STAGE": "test"}) as session:
        session.run("mkdir -p work/src && cd work/src && export TOKEN='a b'")
        session.run('greet() { echo "hello $1 from $PWD"; }\nalias g=greet; shopt -s extglob')
        result = session.run(
            "g you; echo $TOKEN $STAGE; python3 -c 'import os; print(os.getcwd())'"
        )
        assert result.stdout == "hello you from /tmp/work/src\na b test\n/tmp/work/src\n"
        assert session.run("false").exit_code == 1
        assert session.run("echo $?").stdout == "1\n"
        result = session.run("printf '\\xff\\x00out'; printf 'err' >&2")
        assert (result.stdout_bytes, result.stderr_bytes) == (b"\xff\x00out", b"err")
        assert session.info().cwd == "/tmp/work/src"
        assert session.run(["printf", "%s|", "it's", "$HOME"]).stdout == "it's|$HOME|"
        with pytest.raises(CommandFailed):
            session.run("(exit 4)", check=True)
    with pytest.raises(SessionNotFound):
        session.run("true")
    session.close()


def test_the_first_command_has_what_a_login_shell_has(base: Sandbox) -> None:
    base.files.write("/home/user/.bash_profile", "export FROM_PROFILE=yes; cat; echo noise\n")
    try:
        with base.session() as session:
            result = session.run("cat; echo $FROM_PROFILE $HOME $USER", stdin="mine ")
            assert result.stdout == "mine yes /home/user user\n"
            mine = session.run("echo $PATH").stdout
        assert base.run("echo $PATH").stdout == "noise\n" + mine
    finally:
        base.files.remove("/home/user/.bash_profile")


def test_two_clients_share_one(base: Sandbox, unique: str) -> None:
    mine, theirs = base.session(unique), Sandbox.get(base.id).session(unique, cwd="/etc")
    assert mine.run("cd /usr; x=1").ok
    assert theirs.run("pwd; echo $x").stdout == "/usr\n1\n"
    with pytest.raises(SessionExists):
        base.session(unique, create_only=True)
    assert unique in [each.name for each in base.sessions()]

    # Both at once: one after another, whole.
    line = "for i in 1 2 3; do echo $BASHPID >>/tmp/shared; sleep 0.05; done"
    threads = [threading.Thread(target=each.run, args=(line,)) for each in (mine, theirs) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pids = base.files.read("/tmp/shared").split()
    assert len(pids) == 18
    assert [pids[n] == pids[n - 1] for n in range(1, 18)].count(False) == 5
    mine.close()


def test_a_client_that_leaves_takes_nothing_along(base: Sandbox, unique: str) -> None:
    session = base.session(unique)
    running = session.spawn("read line; kept=$line; cd /usr/share", stdin=True)
    queued: list[BaseException | str] = []

    def wait_in_line() -> None:
        queued.append(session.run("echo $kept $PWD").stdout)

    waiter = threading.Thread(target=wait_in_line)
    waiter.start()
    waiting.until(lambda: session.info().state == "busy", "the session is busy")
    running.disconnect()
    again = base.attach(running.pid)
    again.stdin.write("said\n")
    assert again.wait().ok
    waiter.join()
    assert queued == ["said /usr/share\n"]
    session.close()


def test_who_leaves_the_line_is_forgotten(base: Sandbox, http: httpx.Client, unique: str) -> None:
    session = base.session(unique, cwd="/tmp")
    running = session.spawn("read line", stdin=True)
    place = f"/v1/sandboxes/{base.id}/run"
    body = {"session": unique, "command": "touch never"}
    headers = {"Accept": "text/event-stream"}
    with http.stream("POST", place, json=body, headers=headers) as stream:
        assert stream.status_code == 200
        waiting.until(lambda: session.info().waiting == 1, "somebody in line")
    waiting.until(lambda: session.info().waiting == 0, "nobody in line")
    running.stdin.close()
    running.wait()
    assert session.run("ls never").exit_code == 2
    assert session.info().commands == 2
    session.close()


@pytest.mark.parametrize("part", ["control", "edge"])
def test_a_session_survives_a_restart_of(node: Any, base: Sandbox, unique: str, part: str) -> None:
    session = base.session(unique, cwd="/var")
    session.run("f() { echo alive in $PWD; }; n=7")
    kill(node, part)
    found = waiting.until(lambda: Sandbox.get(base.id).session(unique), "the session")
    assert waiting.until(lambda: found.run("f; echo $n").stdout, "a command") == (
        "alive in /var\n7\n"
    )
    found.close()


def test_what_is_stopped_leaves_the_session_as_it_was(base: Sandbox) -> None:
    with base.session(cwd="/tmp") as session:
        session.run("x=before")
        with pytest.raises(CommandTimeout) as late:
            session.run("x=after; cd /; echo begun; while :; do :; done", timeout=0.5)
        assert late.value.result.stdout == "begun\n"
        with pytest.raises(CommandTimeout):
            session.run("x=after; setsid sleep 4567 & sleep 4567", timeout=0.5)
        assert session.run("echo $x $PWD").stdout == "before /tmp\n"
        waiting.until(lambda: base.run("pgrep -f '^sleep 4567'").exit_code == 1, "a dead tree")
        process = session.spawn("x=after; sleep 4567")
        process.kill()
        assert process.wait().exit_code == -1
        assert session.run("echo $x").stdout == "before\n"


def test_an_ended_session_says_so(base: Sandbox, unique: str) -> None:
    session = base.session(unique)
    result = session.run("echo bye; exit 3")
    assert (result.exit_code, result.session_ended, result.stdout) == (3, True, "bye\n")
    for attempt in (session, base.session(unique)):
        with pytest.raises(SessionEnded, match="exit code 3") as ended:
            attempt.run("true")
        assert ended.value.exit_code == 3
    info = session.info()
    assert (info.state, info.exit_code, info.commands) == ("ended", 3, 1)
    session.close()
    assert base.session(unique).run("true").session_ended is False


def test_what_a_session_refuses(base: Sandbox, minimal: Sandbox, unique: str) -> None:
    with base.session(unique) as session:
        with pytest.raises(InvalidArgument, match="no shell can have it"):
            session.run("true", env={"a-b": "c"})
        with pytest.raises(ValueError, match="empty command"):
            session.run("  ")
        session.run("mkdir /tmp/gone; cd /tmp/gone; rmdir /tmp/gone")
        with pytest.raises(SessionDirectoryGone, match="/tmp/gone"):
            session.run("rm -rf *")
        session.run("mkdir /tmp/gone", cwd="/")
        assert session.run("pwd").stdout == "/tmp/gone\n"
        with pytest.raises(SessionNotKept) as lost:
            session.run("printf -v big '%*s' 5000000 x; echo printed")
        assert (lost.value.result.stdout, lost.value.code) == ("printed\n", "session_too_large")
        assert session.run("echo ${#big}").stdout == "0\n"
    with pytest.raises(InvalidRequest):
        base.session("Not A Name")
    with pytest.raises(InvalidRequest, match="/no/such"):
        base.session(cwd="/no/such")
    with pytest.raises(Unsupported, match="bash"):
        minimal.session()


def test_variables_of_a_command_are_its_own(base: Sandbox) -> None:
    with base.session(env={"A": "1"}) as session:
        assert session.run("echo $A$B", env={"A": "2", "B": "3"}, cwd="/").stdout == "23\n"
        assert session.run("echo $A-$B").stdout == "1-\n"
        assert session.run("id -un").stdout == "user\n"
    with base.session(user="root") as session:
        assert session.run("id -un; whoami").stdout == "root\nroot\n"


async def test_many_run_side_by_side(base: Sandbox) -> None:
    sandbox = await AsyncSandbox.get(base.id)
    sessions = [await sandbox.session(env={"N": str(n)}) for n in range(50)]
    await base_run(sandbox, "rm -rf /tmp/meet; mkdir /tmp/meet; mkfifo /tmp/meet/go")
    # Nobody goes on before all have come.
    line = "touch /tmp/meet/$N; read <>/tmp/meet/go; echo $N; exit $N"
    meeting = (
        "until [ $(ls /tmp/meet | wc -l) = 51 ]; do sleep 0.05; done; "
        "yes '' | head -n 50 >/tmp/meet/go"
    )
    *results, _ = await asyncio.gather(
        *(session.run(line) for session in sessions), base_run(sandbox, meeting)
    )
    assert [r.stdout for r in results] == [f"{n}\n" for n in range(50)]
    assert [r.exit_code for r in results] == list(range(50))
    await asyncio.gather(*(session.close() for session in sessions))


async def base_run(sandbox: AsyncSandbox, command: str) -> CommandResult:
    return await sandbox.run(command, timeout=60, check=True)


def test_run_over_http(base: Sandbox, http: httpx.Client, unique: str) -> None:
    base.session(unique, cwd="/usr")
    place = f"/v1/sandboxes/{base.id}"
    reply = http.post(f"{place}/run", json={"command": "echo $PWD; exit 3", "session": unique})
    assert reply.status_code == 200
    expected = {
        "exit_code": 3,
        "signal": None,
        "timed_out": False,
        "session_ended": True,
        "stdout": "/usr\n",
        "stderr": "",
        "truncated": False,
    }
    assert reply.json() == expected
    reply = http.post(f"{place}/run", json={"command": "true", "session": unique})
    assert (reply.status_code, reply.json()["error"]["code"]) == (410, "session_ended")
    listed = http.get(f"{place}/sessions").json()["sessions"]
    assert [s["state"] for s in listed if s["name"] == unique] == ["ended"]
    assert http.delete(f"{place}/sessions/{unique}").status_code == 204
    with http.stream(
        "POST",
        f"{place}/run",
        json={"argv": ["sh", "-c", "echo a; echo b >&2; sleep 60"], "timeout": 0.5},
        headers={"Accept": "text/event-stream"},
    ) as stream:
        text = "".join(stream.iter_text())
    names = [line.removeprefix("event: ") for line in text.splitlines() if "event: " in line]
    assert names[0] == "start" and names[-1] == "exit" and set(names[1:-1]) == {"stdout", "stderr"}
    assert '"timed_out":true' in text


def test_the_environment_of_a_running_sandbox_changes(
    make: Make, http: httpx.Client, node: Any
) -> None:
    sandbox = make("base", env={"KEEP": "1", "OLD": "2"})
    session = sandbox.session(env={"MINE": "session"})
    session.run("true")
    sandbox.update(env={"NEW": "3", "OLD": None, "MINE": "sandbox"}, labels={"a": "b"})
    line = "echo $KEEP-${OLD-gone}-$NEW-$MINE"
    assert sandbox.run(line).stdout == "1-gone-3-sandbox\n"
    assert session.run(line).stdout == "1-gone-3-session\n"
    assert sandbox.info().labels == {"a": "b"}
    # Merged into the record: nothing is lost with the process that took it.
    kill(node, "control")
    waiting.until(lambda: sandbox.update(env={"NEW": None}), "the control plane")
    assert sandbox.run(line).stdout == "1-gone--sandbox\n"
    for env in ({"": "x"}, {"A=B": "x"}, {"A": "\0"}, {"A": 1}, {"A": "x" * 300_000}):
        reply = http.patch(f"/v1/sandboxes/{sandbox.id}", json={"env": env})
        assert reply.status_code == 400, env
    sandbox.update(env={"A": "x" * 100_000, "C": "x" * 100_000})
    with pytest.raises(InvalidRequest, match="in all"):
        sandbox.update(env={"B": "x" * 100_000}, labels={})
    assert sandbox.info().labels == {"a": "b"}
    assert sandbox.run("echo ${#A}${B-none}").stdout == "100000none\n"


def test_what_the_guide_says(node: Any) -> None:
    text = Path(__file__, "../../../docs/guides/sessions.md").resolve().read_text()
    blocks = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) >= 2
    for block in blocks:
        exec(block, {})
