"""Commands do what they do in a terminal of one's own, bit for bit."""

from __future__ import annotations

import asyncio
import hashlib
import re
import signal
from pathlib import Path

import pytest

from wardian import (
    AsyncSandbox,
    CommandFailed,
    CommandTimeout,
    InvalidArgument,
    Process,
    ProcessNotFound,
    Sandbox,
)

from .conftest import Make
from .waiting import until

DAEMON = (Path(__file__).parent / "programs" / "daemonize.py").read_text()


def test_every_byte_value_arrives(base: Sandbox) -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 3)"
    assert base.run(["python3", "-c", code]).stdout_bytes == bytes(range(256)) * 3


def test_ten_megabytes_arrive_whole_and_in_order(base: Sandbox) -> None:
    result = base.run("head -c 10485760 /dev/urandom | tee random.bin; sha256sum random.bin >&2")
    assert len(result.stdout_bytes) == 10 * 1024 * 1024
    assert result.stderr.split()[0] == hashlib.sha256(result.stdout_bytes).hexdigest()
    assert not result.truncated


def test_standard_error_is_apart_from_standard_output(minimal: Sandbox) -> None:
    result = minimal.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 2, 42, 127, 255])
def test_the_exit_code_is_the_commands_own(minimal: Sandbox, code: int) -> None:
    assert minimal.run(f"exit {code}").exit_code == code


def test_check_raises_with_all_that_the_command_left(minimal: Sandbox) -> None:
    with pytest.raises(CommandFailed) as caught:
        minimal.run("echo before; exit 3", check=True)
    assert (caught.value.result.exit_code, caught.value.result.stdout) == (3, "before\n")


def test_a_command_that_a_signal_ended_says_so(minimal: Sandbox) -> None:
    process = minimal.spawn(["sleep", "1000"])
    assert process.send_signal(signal.SIGKILL)
    result = process.wait()
    assert result.exit_code == -1
    assert "kill" in result.status.lower()
    assert not process.kill(), "there is nothing left to kill"


def test_sigterm_can_be_caught(minimal: Sandbox) -> None:
    process = minimal.spawn(
        "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    )
    assert next(iter(process)).data == b"ready\n"
    process.terminate()
    result = process.wait()
    assert (result.exit_code, result.stdout) == (7, "ready\nbye\n")


def test_standard_input_of_a_megabyte_comes_back(minimal: Sandbox) -> None:
    data = bytes(range(256)) * 4096
    assert minimal.run(["cat"], stdin=data).stdout_bytes == data


def test_a_command_without_input_reads_the_end_at_once(minimal: Sandbox) -> None:
    assert minimal.run(["cat"]).stdout_bytes == b""


def test_input_is_sent_while_output_is_read(minimal: Sandbox) -> None:
    process = minimal.spawn(["cat"])
    process.stdin.write("one\n")
    assert next(iter(process)).text == "one\n"
    process.stdin.write("two\n")
    process.stdin.close()
    assert process.wait().stdout == "one\ntwo\n"


def test_output_is_delivered_as_it_comes(minimal: Sandbox) -> None:
    """The command ends only after its first line was seen here: held back, this would hang."""

    def seen(text: str) -> None:
        if "first" in text:
            minimal.files.write("/tmp/seen", "")

    result = minimal.run(
        "rm -f /tmp/seen; echo first; until [ -e /tmp/seen ]; do sleep 0.02; done; echo second",
        on_stdout=seen,
        timeout=60,
    )
    assert result.stdout == "first\nsecond\n"


def test_variables_of_the_command_beat_the_sandboxs_and_those_the_templates(make: Make) -> None:
    sandbox = make("base", env={"A": "sandbox", "B": "sandbox", "LANG": "sandbox"})
    result = sandbox.run(["sh", "-c", 'echo "$A $B $LANG"'], env={"B": "command"})
    assert result.stdout == "sandbox command sandbox\n"
    assert sandbox.run(["sh", "-c", 'echo "$B"']).stdout == "sandbox\n"


def test_variables_keep_any_character(minimal: Sandbox) -> None:
    value = "a b\n'\"$(x)`y`\\ ü 𝄞"
    assert minimal.run(["sh", "-c", 'printf %s "$V"'], env={"V": value}).stdout == value


def test_a_command_runs_in_the_directory_it_names(base: Sandbox) -> None:
    assert base.run("pwd", cwd="/usr/lib").stdout == "/usr/lib\n"
    assert base.run("pwd").stdout == "/home/user\n"


def test_users_by_name(base: Sandbox) -> None:
    ask = 'echo "$(id -un) $(id -u) $HOME $USER"'
    assert base.run(ask).stdout == "user 1000 /home/user user\n"
    assert base.run(ask, user="root").stdout == "root 0 /root root\n"


def test_the_normal_user_becomes_root_with_sudo(base: Sandbox) -> None:
    assert base.run("sudo -n id -u").stdout == "0\n"


def test_an_unknown_user_is_named_in_the_error(minimal: Sandbox) -> None:
    with pytest.raises(InvalidArgument, match="nobody-of-that-name"):
        minimal.run("true", user="nobody-of-that-name")


def test_a_missing_directory_is_named_in_the_error(minimal: Sandbox) -> None:
    with pytest.raises(InvalidArgument, match="/no/such/directory"):
        minimal.run("true", cwd="/no/such/directory")


def test_a_missing_program_is_named_in_the_error(minimal: Sandbox) -> None:
    with pytest.raises(InvalidArgument, match="no-such-program"):
        minimal.run(["/no-such-program"])


def test_a_deadline_ends_the_whole_tree(base: Sandbox) -> None:
    base.files.write("/tmp/daemonize.py", DAEMON)
    with pytest.raises(CommandTimeout) as caught:
        base.run("python3 /tmp/daemonize.py; echo waiting; sleep 1000", timeout=3)
    daemons = base.files.read("/tmp/daemons").split()
    assert len(daemons) == 3, "a child, one that called setsid, and one that forked twice"
    assert caught.value.result.stdout == "waiting\n"
    alive = f"for p in {' '.join(daemons)}; do [ -d /proc/$p ] && echo $p; done; true"
    until(lambda: base.run(alive).stdout == "", "the end of every process of the command")


def test_a_command_runs_on_when_its_caller_is_gone(minimal: Sandbox) -> None:
    process = minimal.spawn("for i in $(seq 1000); do echo $i; sleep 0.05; done")
    next(iter(process))
    process.disconnect()
    assert process.pid in [each.pid for each in minimal.processes()]

    again = minimal.attach(process.pid)
    assert int(next(iter(again)).text.split()[0]) > 1, "earlier output is not repeated"
    again.kill()
    again.wait()
    assert process.pid not in [each.pid for each in minimal.processes()]


def test_two_listeners_hear_the_same(minimal: Sandbox) -> None:
    process = minimal.spawn(["cat"])
    listener = minimal.attach(process.pid)
    process.stdin.write("both\n")
    process.stdin.close()
    assert process.wait().stdout == listener.wait().stdout == "both\n"


def test_attaching_to_nothing_is_an_error(minimal: Sandbox) -> None:
    with pytest.raises(ProcessNotFound):
        minimal.attach(99999)


async def test_fifty_commands_at_once(minimal: Sandbox) -> None:
    sandbox = await AsyncSandbox.get(minimal.id)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(sandbox.run(f"sleep 0.2; echo {i}")) for i in range(50)]
    assert [task.result().stdout for task in tasks] == [f"{i}\n" for i in range(50)]


def test_a_terminal_has_the_size_it_was_given_and_can_be_resized(base: Sandbox) -> None:
    with base.pty(columns=100, rows=30) as terminal:
        terminal.stdin.write("stty size\n")
        _read_until(terminal, rb"\b30 100\b")
        terminal.resize(columns=132, rows=50)
        terminal.stdin.write("stty size\n")
        _read_until(terminal, rb"\b50 132\b")
        terminal.stdin.write("exit 5\n")
        assert terminal.wait().exit_code == 5


def test_a_terminal_echoes_and_takes_control_characters(base: Sandbox) -> None:
    terminal = base.pty(["cat"])
    terminal.stdin.write("echo me\n")
    _read_until(terminal, rb"echo me\r\necho me\r\n")
    terminal.stdin.write(b"\x03")
    assert terminal.wait().exit_code != 0


def test_orphans_are_reaped(minimal: Sandbox) -> None:
    minimal.run("for i in $(seq 20); do (sleep 0.05 &) ; done")
    zombies = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l"
    until(lambda: minimal.run(zombies).stdout == "0\n", "no zombie left")


def _read_until(terminal: Process, pattern: bytes) -> None:
    seen = b""
    for chunk in terminal:
        seen += chunk.data
        if re.search(pattern, seen):
            return
    raise AssertionError(f"the terminal ended without {pattern!r}: {seen!r}")
