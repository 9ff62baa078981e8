"""The blocking SDK against a real socket."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import pytest

import wardian
from wardian import Sandbox
from wardian.sdk._sync import processes

from .double import Double, World


def test_the_life_of_a_sandbox(double: Double) -> None:
    with Sandbox.create(name="box", labels={"a": "b"}, timeout=None) as sandbox:
        assert sandbox.state == "running"
        again = Sandbox.get("box")
        assert again.id == sandbox.id
        assert again.update(labels={"c": "d"}).labels == {"c": "d"}
        assert sandbox.info().labels == {"c": "d"}
        assert sandbox.usage().cpu_seconds == 1.5
        port = double.server_address[1]
        assert sandbox.url(8000) == f"http://8000-{sandbox.id}.localhost:{port}"
    assert sandbox.state == "ended"
    assert sandbox.info().reason == "killed"
    with pytest.raises(wardian.SandboxGone):
        sandbox.run("true")


def test_a_found_sandbox_lives_on_after_its_context(double: Double) -> None:
    made = Sandbox.create(name="box")
    with Sandbox.get("box"):
        pass
    with Sandbox.get_or_create("box") as same:
        assert same.id == made.id
    assert made.info().state == "running"


def test_listing_follows_the_pages(double: Double) -> None:
    made = [Sandbox.create(labels={"n": str(n % 2)}).id for n in range(5)]
    assert [sandbox.id for sandbox in Sandbox.list()] == made
    assert [sandbox.id for sandbox in Sandbox.list(labels={"n": "1"})] == made[1::2]


def test_refusals_have_types_codes_and_hints(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(wardian.TemplateNotFound) as missing:
        Sandbox.create("nothing")
    assert (missing.value.status, missing.value.code) == (404, "template_not_found")
    with pytest.raises(wardian.SandboxNotFound):
        Sandbox.get("a/../b?")
    Sandbox.create(name="box")
    with pytest.raises(wardian.NameTaken):
        Sandbox.create(name="box")
    with pytest.raises(wardian.AuthenticationError) as unknown:
        Sandbox.create(api_key="e2b_wrong")
    assert unknown.value.hint == "make one"


def test_a_create_is_repeated_under_the_same_key(world: World) -> None:
    world.failing = [503, 502]
    Sandbox.create()
    keys = [headers["Idempotency-Key"] for _, _, headers in world.requests]
    assert len(keys) == 3 and len(set(keys)) == 1
    assert len(world.sandboxes) == 1


def test_repeating_has_an_end(world: World) -> None:
    world.failing = [503] * 10
    with pytest.raises(wardian.Unavailable):
        Sandbox.get("box")
    assert len(world.requests) == 4


def test_what_may_not_be_repeated_is_not(world: World) -> None:
    sandbox = Sandbox.create()
    world.requests.clear()
    world.failing = [503]
    with pytest.raises(wardian.WardianError):
        sandbox.run("true")
    world.failing = [503]
    with pytest.raises(wardian.Unavailable):
        sandbox.update(labels={})
    assert len(world.requests) == 2


def test_nobody_there_has_a_hint() -> None:
    with pytest.raises(wardian.ConnectionFailed) as refused:
        Sandbox.create(url="http://127.0.0.1:9", api_key="e2b_x")
    assert "wardian serve" in (refused.value.hint or "")


def test_commands(double: Double) -> None:
    sandbox = Sandbox.create()
    result = sandbox.run("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert not result.ok and result.duration > 0
    assert sandbox.run(["printf", "%s", "$HOME; x"]).stdout == "$HOME; x"
    assert sandbox.run("echo $A", env={"A": "ü€"}).stdout == "ü€\n"
    assert sandbox.run(["printf", "\\377"]).stdout_bytes == b"\xff"
    with pytest.raises(wardian.CommandFailed) as failed:
        sandbox.run("echo why; exit 4", check=True)
    assert failed.value.result.stdout == "why\n" and failed.value.result.exit_code == 4


def test_one_connection_serves_one_after_another(world: World) -> None:
    sandbox = Sandbox.create()
    for _ in range(5):
        sandbox.run(["true"])
        sandbox.files.exists("nothing")
    assert world.connections == 1


def test_output_is_streamed_as_whole_characters(double: Double) -> None:
    sandbox = Sandbox.create()
    seen: list[str] = []
    errors: list[str] = []
    command = "printf '\\303'; sleep 0.05; printf '\\244\\n'; echo e >&2; printf '\\303'"
    result = sandbox.run(command, on_stdout=seen.append, on_stderr=errors.append)
    assert "".join(seen) == "ä\n\ufffd" and errors == ["e\n"]
    assert not any("\ufffd" in text for text in seen[:-1])
    assert result.stdout_bytes == "ä\n".encode() + b"\xc3"


def test_a_timeout_keeps_the_output(double: Double) -> None:
    with pytest.raises(wardian.CommandTimeout) as stopped:
        Sandbox.create().run("echo before; sleep 60", timeout=0.2)
    assert stopped.value.result.stdout == "before\n"
    assert stopped.value.result.exit_code == -1


def test_input_larger_than_any_pipe_while_the_command_answers(double: Double) -> None:
    data = bytes(range(256)) * 4096
    assert Sandbox.create().run(["cat"], stdin=data).stdout_bytes == data


def test_output_beyond_the_limit_is_cut_and_said(double: Double) -> None:
    seen: list[str] = []
    command = "head -c 100000 /dev/zero | tr '\\0' x"
    result = Sandbox.create().run(command, output_limit=1000, on_stdout=seen.append)
    assert result.stdout == "x" * 1000 and result.truncated
    assert len("".join(seen)) == 100000


def test_a_spawned_command_takes_input_and_signals(double: Double) -> None:
    sandbox = Sandbox.create()
    process = sandbox.spawn("read line; echo got $line; exec sleep 60")
    process.stdin.write("this\n")
    assert next(iter(process)).data == b"got this\n"
    assert process.send_signal(signal.SIGTERM)
    assert process.wait().exit_code == -15
    assert not process.kill()
    with pytest.raises(ValueError, match="no signal"):
        process.send_signal("SIGNOTHING")


def test_a_bad_directory_is_an_invalid_argument(double: Double) -> None:
    with pytest.raises(wardian.InvalidArgument, match="does not exist"):
        Sandbox.create().run("true", cwd="/nowhere")


def test_a_missing_program_is_told_as_such(world: World) -> None:
    world.bash = False
    with pytest.raises(wardian.CommandNotStarted, match="cannot run '/bin/bash'"):
        Sandbox.create().run(["/bin/bash"])


def test_without_bash_sh_is_used_and_remembered(world: World) -> None:
    world.bash = False
    sandbox = Sandbox.create()
    assert sandbox.run("echo $0").stdout == "/bin/sh\n"
    asked = len(world.requests)
    assert sandbox.run("echo again").stdout == "again\n"
    assert len(world.requests) == asked + 1
    processes._without_bash.clear()


def test_a_stream_that_is_cut_off_means_the_sandbox_is_gone(world: World) -> None:
    world.cut_stream = True
    with pytest.raises(wardian.SandboxGone, match="cut off"):
        Sandbox.create().run("echo x")


def test_impossible_commands_are_refused_before_anything_is_sent(world: World) -> None:
    sandbox = Sandbox.create()
    world.requests.clear()
    for bad in ([], [""], "a\0b"):
        with pytest.raises(ValueError):
            sandbox.run(bad)
    with pytest.raises(ValueError):
        sandbox.run("true", timeout=0)
    assert world.requests == []


def test_files(double: Double, tmp_path: Path) -> None:
    files = Sandbox.create().files
    files.write("d/text", "grün")
    assert files.read("d/text") == "grün"
    assert files.read("d/text", "bytes", offset=2, length=2) == "ü".encode()
    assert files.read("d/text", offset=99) == ""
    assert b"".join(files.read("d/text", "stream")) == "grün".encode()
    files.write("pieces", (b"x" * n for n in range(4)))
    files.write("file", io.BytesIO(b"from memory"))
    assert files.read("pieces") == "xxxxxx" and files.read("file") == "from memory"
    assert [(entry.name, entry.is_dir) for entry in files.list("/")] == [
        ("d", True),
        ("file", False),
        ("pieces", False),
    ]
    entry = files.stat("d/text")
    assert (entry.size, entry.path, entry.is_file) == (5, "/d/text", True)
    assert files.move("file", "moved").name == "moved"
    assert files.exists("moved") and not files.exists("file")
    files.mkdir("deep/er")
    files.mkdir("deep/er", exist_ok=True)
    with pytest.raises(wardian.FileExists):
        files.mkdir("deep/er")
    files.remove("deep")
    assert not files.exists("deep")
    with pytest.raises(wardian.FileNotFound) as missing:
        files.read("deep")
    assert missing.value.path == "deep"
    with pytest.raises(wardian.DiskFull):
        files.write("full", b"x")


def test_transfers_report_and_leave_nothing_half_done(double: Double, tmp_path: Path) -> None:
    files = Sandbox.create().files
    local, back = tmp_path / "local", tmp_path / "back"
    local.write_bytes(bytes(range(256)) * 40960)
    told: list[tuple[int, int | None]] = []
    files.upload(local, "remote", lambda done, total: told.append((done, total)))
    assert told[-1] == (10485760, 10485760)
    told.clear()
    files.download("remote", back, lambda done, total: told.append((done, total)))
    assert back.read_bytes() == local.read_bytes()
    assert told[-1] == (10485760, 10485760)

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.download("remote", tmp_path / "never", stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "inside", "local"]
