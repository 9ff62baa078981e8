"""The program ``wardian``, run as people run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wardian import Sandbox

from .conftest import Make
from .oci_image import layer

Wardian = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def wardian(node: Any) -> Wardian:
    """Runs the program; says what it printed and its exit code."""
    program = Path(sys.executable).with_name("wardian")
    environment = {**os.environ, "WARDIAN_URL": node.url, "WARDIAN_API_KEY": node.api_key}

    def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, env=environment, timeout=100
        )

    return run


def _json(result: subprocess.CompletedProcess[bytes]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_sandbox_from_create_to_kill(wardian: Wardian, unique: str) -> None:
    made = wardian("create", "minimal", "--name", unique, "--label", "k=v", "--memory", "64")
    sandbox_id = made.stdout.decode().strip()
    try:
        assert made.returncode == 0 and len(sandbox_id) == 20
        info = _json(wardian("info", unique, "--json"))
        assert (info["id"], info["state"], info["labels"]) == (sandbox_id, "running", {"k": "v"})
        assert info["limits"]["memory_mb"] == 64
        assert "token" not in wardian("info", unique, "--json").stdout.decode()
        listed = _json(wardian("ls", "--label", "k=v", "--json"))
        assert sandbox_id in [each["id"] for each in listed]
        assert sandbox_id in wardian("ls").stdout.decode()
        assert _json(wardian("usage", unique, "--json"))["pids"] >= 1
    finally:
        assert wardian("kill", unique).returncode == 0
    assert sandbox_id not in wardian("ls", "-q").stdout.decode().split()
    assert _json(wardian("info", sandbox_id, "--json"))["reason"] == "killed"


def test_exec_passes_bytes_exit_codes_and_both_outputs(wardian: Wardian, minimal: Sandbox) -> None:
    data = bytes(range(256)) * 1000
    assert wardian("exec", minimal.id, "--", "cat", stdin=data).stdout == data
    result = wardian("exec", "-c", minimal.id, "--", "echo out; echo err >&2; exit 42")
    assert (result.returncode, result.stdout, result.stderr) == (42, b"out\n", b"err\n")
    result = wardian(
        "exec", "-w", "/bin", "-e", "A=b c", minimal.id, "--", "sh", "-c", 'echo "$PWD $A"'
    )
    assert result.stdout == b"/bin b c\n"
    killed = wardian("exec", minimal.id, "--", "sh", "-c", "kill -9 $$")
    assert killed.returncode == 137
    assert wardian("exec", "--timeout", "1s", minimal.id, "--", "sleep", "1000").returncode == 124


def test_exec_tells_its_own_failures_from_the_commands(wardian: Wardian, minimal: Sandbox) -> None:
    missing = wardian("exec", "no-such-sandbox", "--", "true")
    assert missing.returncode == 125 and b"no-such-sandbox" in missing.stderr
    program = wardian("exec", minimal.id, "--", "no-such-program")
    assert program.returncode == 125 and b"no-such-program" in program.stderr


def test_run_makes_a_sandbox_and_ends_it(wardian: Wardian, node: Any) -> None:
    before = {sandbox.id for sandbox in Sandbox.list()}
    result = wardian("run", "minimal", "--", "sh", "-c", "cat; hostname; exit 3", stdin=b"in\n")
    assert result.returncode == 3
    assert result.stdout.startswith(b"in\n")
    assert {sandbox.id for sandbox in Sandbox.list()} <= before


def test_cp_copies_files_and_directories_both_ways(
    wardian: Wardian, base: Sandbox, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "binary").write_bytes(os.urandom(3_000_000))
    (tree / "empty").write_bytes(b"")
    (tree / "script").write_text("#!/bin/sh\necho ran\n")
    (tree / "script").chmod(0o755)
    assert wardian("cp", "-r", str(tree), f"{base.id}:/home/user/copy").returncode == 0
    assert base.run("/home/user/copy/script").stdout == "ran\n"
    assert wardian("cp", f"{base.id}:/home/user/copy", str(tmp_path / "back")).returncode == 0
    for name in ("deep/binary", "empty", "script"):
        assert (tmp_path / "back" / name).read_bytes() == (tree / name).read_bytes()
    assert (tmp_path / "back" / "script").stat().st_mode & 0o111

    assert wardian("cp", str(tree / "deep/binary"), f"{base.id}:/tmp/one").returncode == 0
    assert wardian("cp", f"{base.id}:/tmp/one", str(tmp_path / "one")).returncode == 0
    assert (tmp_path / "one").read_bytes() == (tree / "deep/binary").read_bytes()


def test_cp_of_what_is_not_there(wardian: Wardian, base: Sandbox, tmp_path: Path) -> None:
    inside = wardian("cp", f"{base.id}:/no/such", str(tmp_path / "x"))
    assert inside.returncode == 1 and b"/no/such" in inside.stderr
    assert not (tmp_path / "x").exists()
    assert wardian("cp", str(tmp_path / "nothing"), f"{base.id}:/tmp/x").returncode != 0


def test_files_are_listed_searched_printed_and_removed(
    wardian: Wardian, minimal: Sandbox, unique: str
) -> None:
    place = f"{minimal.id}:/tmp/{unique}"
    minimal.files.write(f"/tmp/{unique}/caf\udce9/a\x1b[31m", b"one\ntwo\xff\n")
    listed = _json(wardian("files", "ls", "-r", place, "--json"))
    assert [entry["type"] for entry in listed] == ["directory", "file"]
    assert listed[0]["path_b64"]
    shown = wardian("files", "ls", "-r", place)
    assert b"-rw-r--r-- root:root" in shown.stdout and b"\x1b" not in shown.stdout
    found = wardian("files", "grep", "-C", "1", "t.o", place)
    assert found.returncode == 0 and b":2:two" in found.stdout and b"-1-one" in found.stdout
    assert wardian("files", "grep", "-F", "t.o", place).returncode == 1
    minimal.files.write(f"/tmp/{unique}/plain", b"\x00\xff")
    assert wardian("files", "cat", f"{place}/plain").stdout == b"\x00\xff"
    assert wardian("files", "rm", f"{minimal.id}:").returncode == 1
    assert wardian("files", "rm", place).returncode == 0
    assert wardian("files", "rm", place).returncode == 1
    assert wardian("files", "ls", place).returncode == 1


def test_background_processes(wardian: Wardian, minimal: Sandbox, unique: str) -> None:
    script = "echo out; echo err >&2; while [ ! -e /tmp/end ]; do sleep 0.02; done; exit 5"
    options = ("--name", unique, "-e", "A=1", "-w", "/tmp")
    started = wardian("start", *options, minimal.id, "--", "sh", "-c", script)
    assert started.stdout.decode() == f"{unique}\n", started.stderr
    again = wardian("start", "--name", unique, minimal.id, "--", "true")
    assert again.returncode == 1 and unique.encode() in again.stderr
    assert wardian("wait", minimal.id, unique, "--log", "err").stdout == b"err\n"
    late = wardian("wait", minimal.id, unique, "--regex", "^never", "--timeout", "1s")
    assert late.returncode == 124
    log = wardian("logs", minimal.id, unique)
    assert (log.stdout, log.stderr) == (b"out\n", b"err\n")
    assert wardian("logs", minimal.id, unique, "--stream", "stdout").stderr == b""
    shown = _json(wardian("ps", minimal.id, "--json"))
    assert [(each["name"], each["state"]) for each in shown] == [(unique, "running")]
    assert unique.encode() in wardian("ps", minimal.id).stdout
    minimal.files.write("/tmp/end", "")
    followed = wardian("logs", "-f", minimal.id, unique, "--json")
    marks = [json.loads(line) for line in followed.stdout.splitlines()]
    assert (marks[0]["event"], marks[-1]["event"]) == ("start", "end")
    assert wardian("wait", minimal.id, unique, "--exit").returncode == 5
    assert wardian("wait", minimal.id, unique, "--port", "9").returncode == 3
    assert wardian("stop", minimal.id).returncode == 2
    assert wardian("stop", "--all", "--remove", minimal.id).returncode == 0
    assert _json(wardian("ps", minimal.id, "--json")) == []
    assert wardian("logs", minimal.id, unique).returncode == 1


def test_templates(
    wardian: Wardian, minimal: Sandbox, make: Make, tmp_path: Path, unique: str
) -> None:
    names = [each["name"] for each in _json(wardian("template", "ls", "--json"))]
    assert {"base", "minimal"} <= set(names)
    tar = tmp_path / "layer.tar"
    tar.write_bytes(layer({"echo": minimal.files.read("/bin/busybox", "bytes")}))
    assert _json(wardian("template", "import", unique, str(tar), "--json"))["name"] == unique
    assert wardian("run", unique, "--", "/echo", "hi").stdout == b"hi\n"
    user = make(unique)
    refused = wardian("template", "rm", unique)
    assert refused.returncode == 1 and unique.encode() in refused.stderr
    user.kill()
    assert wardian("template", "rm", unique).returncode == 0
    assert unique.encode() not in wardian("template", "ls").stdout


def test_keys(wardian: Wardian) -> None:
    made = _json(wardian("key", "create", "from the test", "--json"))
    assert made["key"].startswith("e2b_")
    listing = wardian("key", "ls", "--json")
    assert made["id"] in [each["id"] for each in _json(listing)]
    assert made["key"].encode() not in listing.stdout
    assert wardian("key", "rm", made["id"]).returncode == 0
    assert made["id"] not in [each["id"] for each in _json(wardian("key", "ls", "--json"))]


def test_doctor_says_what_the_machine_can_do(wardian: Wardian) -> None:
    result = wardian("doctor", "--json")
    assert result.returncode in (0, 1), result.stderr
    text = json.dumps(json.loads(result.stdout)).lower()
    for word in ("kernel", "cgroup", "storage"):
        assert word in text


def test_wrong_usage_and_an_absent_server_are_told_plainly(wardian: Wardian) -> None:
    for wrong in (["creat"], ["create", "--cpu", "many"], ["exec"], ["create", "--timeout", "x"]):
        result = wardian(*wrong)
        assert result.returncode == 2
        assert b"Traceback" not in result.stderr
    absent = wardian("--url", "http://127.0.0.1:9", "ls")
    assert absent.returncode == 1
    assert b"127.0.0.1:9" in absent.stderr and b"Traceback" not in absent.stderr


def test_sessions_and_the_environment(wardian: Wardian, unique: str) -> None:
    sandbox = wardian("create", "base", "--name", unique).stdout.decode().strip()
    try:
        assert wardian("exec", "-s", "work", unique, "--", "cd", "/usr/it's here").returncode == 1
        line = "cd /usr; f() { cat; exit 3; }"
        assert wardian("exec", "-s", "work", "-c", unique, line).returncode == 0
        listed = _json(wardian("session", "ls", unique, "--json"))
        assert [(each["name"], each["cwd"]) for each in listed] == [("work", "/usr")]
        assert wardian("env", unique, "A=1", "B=2=3").returncode == 0
        assert wardian("env", unique, "A-").returncode == 0
        line = 'echo "$PWD ${A-gone} $B"'
        shown = wardian("exec", "--session", "work", "-c", unique, line)
        assert shown.stdout == b"/usr gone 2=3\n"
        result = wardian("exec", "-s", "work", unique, "--", "f", stdin=b"passed on")
        assert (result.returncode, result.stdout) == (3, b"passed on")
        failed = wardian("exec", "-s", "work", unique, "--", "true")
        assert failed.returncode == 125 and b"exit code 3" in failed.stderr
        assert b"ended (3)" in wardian("session", "ls", unique).stdout
        assert wardian("session", "rm", unique, "work").returncode == 0
        assert wardian("session", "rm", unique, "work").returncode == 1
        assert wardian("session", "create", unique, "other", "-w", "/tmp").stdout == b"other\n"
        assert wardian("session", "create", unique, "other").returncode == 1
        assert wardian("exec", "-t", "-s", "other", unique, "--", "true").returncode == 2
        assert wardian("env", unique, "nothing").returncode == 2
    finally:
        wardian("kill", sandbox)
