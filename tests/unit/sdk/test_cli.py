"""The command line, as processes where bytes and exit codes matter, else in click's runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from wardian import Sandbox
from wardian.cli import cli
from wardian.cli.commands import exit_code_of
from wardian.sdk._process import CommandResult

from .double import KEY, Double, World


def invoke(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, args, prog_name="wardian")
    return result.exit_code, result.stdout, result.stderr


def program(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "wardian.cli", *args]
    return subprocess.run(command, input=stdin, capture_output=True)


def test_sandboxes_from_create_to_kill(double: Double) -> None:
    code, out, _ = invoke("create", "--name", "box", "-l", "a=b", "--memory", "512")
    identity = out.strip()
    assert code == 0 and len(identity) == 20
    assert identity in invoke("ls")[1] and "a=b" in invoke("ls")[1]
    assert invoke("ls", "-q", "-l", "a=other")[1] == ""
    code, out, _ = invoke("info", "box", "--json")
    assert json.loads(out)["id"] == identity
    assert "token" not in out
    assert json.loads(invoke("usage", "box", "--json")[1])["cpu_seconds"] == 1.5
    assert invoke("kill", "box") == (0, "box\n", "")
    assert json.loads(invoke("info", "box", "--json")[1])["reason"] == "killed"


def test_errors_say_what_and_what_to_do(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke("info", "nothing") == (1, "", "error: no sandbox nothing\n")
    code, _, err = invoke("kill", "nothing", "nobody")
    assert code == 1 and err.count("error:") == 2
    monkeypatch.setenv("WARDIAN_API_KEY", "e2b_wrong")
    assert invoke("ls") == (1, "", "error: unknown key\nhint: make one\n")
    assert invoke("create", "--timeout", "soon")[0] == 2
    assert invoke("create", "-e", "novalue")[0] == 2
    code, _, err = invoke("lss")
    assert code == 2 and "Did you mean 'ls'?" in err


def test_exec_passes_bytes_input_and_exit_code(double: Double) -> None:
    Sandbox.create(name="box")
    script = "cat; printf '\\377' >&2; exit 7"
    done = program("exec", "box", "--", "sh", "-c", script, stdin=b"\x00\xfe")
    assert (done.stdout, done.stderr, done.returncode) == (b"\x00\xfe", b"\xff", 7)
    assert program("exec", "-c", "box", "echo $0").stdout == b"/bin/bash\n"
    assert program("exec", "nobody", "true").returncode == 125
    assert program("exec", "--timeout", "0.2", "box", "sleep", "60").returncode == 124
    assert program("exec", "box", "--cwd", "x").returncode == 2
    assert program("exec", "box", "--").returncode == 2


def test_run_ends_its_sandbox(world: World) -> None:
    done = program("run", "base", "--", "sh", "-c", "echo here; exit 3")
    assert (done.stdout, done.returncode) == (b"here\n", 3)
    assert [sandbox["state"] for sandbox in world.sandboxes.values()] == ["ended"]


def test_interrupt_kills_the_command(world: World) -> None:
    Sandbox.create(name="box")
    command = [sys.executable, "-m", "wardian.cli", "exec", "box", "sh", "-c", "echo up; sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
    (child,) = world.processes.values()
    assert child.wait(20) == -signal.SIGKILL


def test_a_reader_that_goes_away_ends_the_command(world: World) -> None:
    Sandbox.create(name="box")
    command = [sys.executable, "-m", "wardian.cli", "exec", "box", "yes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        running.stdout.read(2)
        running.stdout.close()
        assert running.wait(20) == 141
    (child,) = world.processes.values()
    assert child.wait(20) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (3, "", 3),
        (-9, "", 137),
        (-1, "signal: killed", 137),
        (-1, "signal: segmentation fault (core dumped)", 139),
        (-1, "signal 40", 168),
        (-1, "unknown", 125),
    ],
)
def test_signals_become_exit_codes(code: int, status: str, expected: int) -> None:
    assert exit_code_of(CommandResult(b"", b"", code, 0.0, 1, status)) == expected


def test_files_are_copied_both_ways(world: World, tmp_path: Path) -> None:
    Sandbox.create(name="box")
    (tmp_path / "a").write_bytes(b"content")
    assert invoke("cp", str(tmp_path / "a"), "box:b") == (0, "", "")
    assert (world.folder / "b").read_bytes() == b"content"
    assert invoke("cp", "box:b", str(tmp_path)) == (0, "", "")
    assert (tmp_path / "b").read_bytes() == b"content"
    assert invoke("cp", "x", "y")[0] == 2
    assert invoke("cp", "box:x", "box:y")[0] == 2
    assert invoke("cp", str(tmp_path / "none"), "box:")[0] == 1


def test_a_pull_that_fails_says_so(double: Double) -> None:
    assert invoke("template", "pull", "registry/image:1") == (1, "", "error: no such image\n")


def test_keys_and_templates(double: Double) -> None:
    code, out, err = invoke("key", "create", "mine")
    assert (code, out) == (0, f"{KEY}\n") and "not shown again" in err
    assert invoke("template", "ls")[1].splitlines()[1].startswith("base ")


def test_help_and_completion_answer_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDIAN_URL", "http://127.0.0.1:9")
    assert "Make a sandbox" in invoke("--help")[1]
    for command in ("serve", "doctor", "create", "exec", "template"):
        assert invoke(command, "--help")[0] == 0
    assert "_WARDIAN_COMPLETE" in invoke("completion", "bash")[1]
    environment = {**os.environ, "_WARDIAN_COMPLETE": "bash_complete", "COMP_WORDS": "wardian k"}
    environment["COMP_CWORD"] = "1"
    command = [sys.executable, "-m", "wardian.cli"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["plain,key", "plain,kill"]
