"""`wardian shell`, used at a terminal as a person uses it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from wardian import Sandbox

from . import waiting
from .conftest import Make
from .cuttable import way_to
from .local_terminal import LocalTerminal, wardian_in_terminal

Wardian = Callable[..., AbstractContextManager[LocalTerminal]]


@pytest.fixture
def wardian(node: Any) -> Wardian:
    """Runs the program in a terminal of ours."""
    return partial(wardian_in_terminal, node.url, node.api_key)


def test_it_feels_like_a_shell_here(wardian: Wardian, base: Sandbox, unique: str) -> None:
    with wardian("shell", "--name", unique, base.id, cols=97, rows=31) as local:
        local.until("$ ")
        assert local.is_raw()
        local.type("echo size $(stty size)\r")
        local.until("size 31 97")
        local.resize(70, 20)
        waiting.until(
            lambda: [(t.cols, t.rows) for t in base.terminals() if t.name == unique] == [(70, 20)],
            "the other terminal has the size of ours",
        )
        local.type("sh -c 'echo slee''ping; sleep 1000'\r")
        local.until("sleeping")
        local.type("\x03")
        local.until("^C")
        local.until("$ ")
        local.type("echo code $?\r")
        local.until("code 130")
        local.type("exit 42\r")
        local.rest()
        assert local.end() == 42


def test_it_is_left_and_found_again(wardian: Wardian, base: Sandbox, unique: str) -> None:
    with wardian("shell", "-n", unique, base.id, hold=True) as local:
        local.until("$ ")
        local.type("A=le; B=ft; echo $A$B\r")
        local.until("left\r\n")
        local.type("~~ not at the end of a line~.\r")
        local.until("~ not at the end of a line~.")
        local.type("~.")
        shown = local.rest()
        assert f"wardian shell --name {unique}" in shown and "code=0" in shown
        assert " icanon" in shown and " echo " in shown
    with wardian("shell", "-n", unique, base.id) as local:
        local.until("left\r\n")
        local.type("echo again $A$B; exit\r")
        local.until("again left")
        local.rest()
        assert local.end() == 0


def test_the_terminal_is_as_before_whatever_ran_there(
    wardian: Wardian, base: Sandbox, unique: str
) -> None:
    modes = "\\033[?1049h\\033[?1000;1006h\\033[?2004h\\033[?25l"
    program = ["sh", "-c", f"printf '{modes}on'; cat"]
    with wardian("shell", "-n", unique, base.id, "--", *program, hold=True) as local:
        local.until("\x1b[?25lon")
        local.type("\r~.")
        shown = local.rest()
        for undone in ("?1049l", "?1000l", "?1006l", "?2004l", "?25h"):
            assert f"\x1b[{undone}" in shown
        assert " icanon" in shown and "code=0" in shown
    base.kill_terminal(unique)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_before(
    wardian: Wardian, base: Sandbox, number: signal.Signals
) -> None:
    with wardian("shell", base.id, "--", "sh", hold=True) as local:
        local.until("$ ")
        children = Path(f"/proc/{local.pid}/task/{local.pid}/children").read_text().split()
        # A hold's shell has one child: the program.
        os.kill(int(children[0]), number)
        shown = local.rest()
        assert " icanon" in shown and f"code={128 + number}" in shown
    assert [t.state for t in base.terminals() if t.name == "main"] == ["running"]
    base.kill_terminal("main")


def test_a_cut_connection_is_made_again(node: Any, base: Sandbox, unique: str) -> None:
    with (
        way_to(node.port) as way,
        wardian_in_terminal(way.url, node.api_key, "shell", "-n", unique, base.id) as local,
    ):
        local.until("$ ")
        local.type("A=be; B=fore; echo $A$B\r")
        local.until("before\r\n")
        way.refusing = True
        way.cut()
        local.until("connection lost")
        way.refusing = False
        local.until("before\r\n")
        local.type("echo and aft''er $A$B; exit 5\r")
        local.until("and after before")
        local.rest()
        assert local.end() == 5


def test_detaching_works_without_a_connection(node: Any, base: Sandbox, unique: str) -> None:
    with (
        way_to(node.port) as way,
        wardian_in_terminal(way.url, node.api_key, "shell", "-n", unique, base.id) as local,
    ):
        local.until("$ ")
        way.refusing = True
        way.cut()
        local.until("connection lost")
        local.type("\r~.")
        assert "detached" in local.rest()
        assert local.end() == 0
    base.kill_terminal(unique)


def test_a_sandbox_that_ends_ends_it(wardian: Wardian, make: Make) -> None:
    sandbox = make()
    with wardian("shell", sandbox.id, hold=True) as local:
        local.until("# ")
        sandbox.kill()
        shown = local.rest()
        assert "error:" in shown and "code=125" in shown and " icanon" in shown


def test_exec_in_a_terminal(wardian: Wardian, base: Sandbox) -> None:
    command = ["sh", "-c", "test -t 0 && test -t 1 && stty size; exit 9"]
    with wardian("exec", "--tty", base.id, "--", *command, cols=66, rows=22) as local:
        assert "22 66" in local.rest()
        assert local.end() == 9
    with wardian("exec", "-t", base.id, "--", "sh", "-c", "echo on; cat", hold=True) as local:
        local.until("on\r\n")
        local.type("hello\r")
        local.until("hello\r\nhello")
        local.type("~.")
        assert "code=0" in local.rest()
    assert not [t for t in base.terminals() if t.state == "running" and "echo on; cat" in t.argv]


def test_listing_and_ending_terminals(wardian: Wardian, node: Any, base: Sandbox) -> None:
    program = Path(sys.executable).with_name("wardian")
    environment = {**os.environ, "WARDIAN_URL": node.url, "WARDIAN_API_KEY": node.api_key}

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, env=environment
        )

    base.terminal("listed", argv=["cat", "a b"], cols=33, rows=11).close()
    listing = run("terminal", "ls", base.id).stdout.decode()
    line = next(each for each in listing.splitlines() if each.startswith("listed"))
    assert "33x11" in line and "cat 'a b'" in line
    assert run("terminal", "kill", base.id, "listed").returncode == 0
    missing = run("terminal", "kill", base.id, "listed")
    assert missing.returncode == 1 and b"listed" in missing.stderr
    refused = run("shell", base.id)
    assert refused.returncode == 2 and b"wardian exec" in refused.stderr
