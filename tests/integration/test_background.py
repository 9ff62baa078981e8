"""Background processes: what they are told, what is told of them, and that nothing is lost."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from wardian import (
    AsyncSandbox,
    BackgroundInfo,
    BackgroundProcess,
    InvalidRequest,
    LogRecord,
    LogReplaced,
    ProcessEnded,
    ProcessExists,
    ProcessNotFound,
    Sandbox,
    WaitTimeout,
)

from .conftest import Make
from .host import part_of
from .waiting import until

DAEMON = (Path(__file__).parent / "programs" / "daemonize.py").read_text()
LOGS = "/var/log/wardian/processes"
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.send_response(503 if Handler.asked < 3 else 200)
        self.send_header("content-length", "0")
        self.end_headers()
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


@pytest.fixture
def left(base: Sandbox) -> Iterator[Sandbox]:
    """The shared sandbox, without background processes before and after."""
    yield base
    for process in base.background_processes():
        process.remove()


def joined(records: list[LogRecord], kind: str = "stdout") -> bytes:
    return b"".join(record.data for record in records if record.kind == kind)


def test_a_process_runs_on_and_is_found_again(left: Sandbox) -> None:
    process = left.start("echo hello; echo oops >&2; sleep 1000", "web", env={"A": "1"}, cwd="/tmp")
    assert (process.name, process.state) == ("web", "running")
    assert process.wait_for_log("hello").line == "hello"
    process.wait_for_log("oops")
    found = left.background_process("web")
    log = found.log()
    assert (log.stdout, log.stderr) == ("hello\n", "oops\n")
    assert found.log(since=log.next).records == ()
    assert found.log(stream="stderr").text == "oops\n"
    assert [each.name for each in left.background_processes()] == ["web"]
    with pytest.raises(ProcessExists):
        left.start(["true"], "web")
    with pytest.raises(InvalidRequest, match="no name"):
        left.start(["true"], "Not a name")
    with pytest.raises(InvalidRequest, match="/no/such"):
        left.start(["true"], cwd="/no/such")
    info = found.stop()
    assert (info.state, info.signal, info.exit_code) == ("ended", "SIGTERM", None)
    found.remove()
    with pytest.raises(ProcessNotFound):
        found.info()
    assert not left.files.exists(f"{LOGS}/web")


def test_environment_directory_and_user_are_its_own(left: Sandbox) -> None:
    command = 'echo "$A $PWD $(id -un)"'
    process = left.start(command, env={"A": "b"}, cwd="/tmp", user="root")
    assert process.wait_for_exit(60).exit_code == 0
    assert process.log().text == "b /tmp root\n"
    command = ["sh", "-c", 'echo "$1"', "-", "two words"]
    process = left.start(command)
    process.wait_for_exit(60)
    assert process.log().text == "two words\n"


def test_cpu_time_and_peak_memory_of_the_whole_tree_are_told(left: Sandbox) -> None:
    code = "x = bytearray(80_000_000); import time; e = time.process_time() + 0.4\n"
    code += "while time.process_time() < e: pass"
    process = left.start(f"python3 -c '{code}'; python3 -c '{code}'; sleep 1000")
    until(lambda: process.info().cpu_seconds >= 0.7, "its CPU time while it runs")
    info = process.stop()
    assert info.cpu_seconds >= 0.7
    assert 80_000_000 < info.memory_peak_bytes < 200_000_000


def test_stop_ends_daemons_too(left: Sandbox) -> None:
    process = left.start(["python3", "-c", DAEMON])
    # It leaves three behind: a child, one in a session of its own, and one that forked twice.
    assert process.wait_for_exit(60).exit_code == 0
    pids = left.files.read("/tmp/daemons").split()
    assert len(pids) == 3
    alive = f"for pid in {' '.join(pids)}; do [ -d /proc/$pid ] && echo alive; done; true"
    assert left.run(alive).stdout == "alive\n" * 3
    process.stop(grace=1)
    assert left.run(alive).stdout == ""


def test_signals_by_name_and_number(left: Sandbox) -> None:
    process = left.start(
        "trap 'echo one' USR1; trap 'echo two' USR2; echo up; while :; do sleep 0.02; done"
    )
    process.wait_for_log("up", 60)
    for word, line in (("USR1", "one"), (signal.SIGUSR2, "two")):
        process.signal(word)
        process.wait_for_log(line, 60)
    with pytest.raises(InvalidRequest):
        process.signal("NOPE")
    process.signal("SIGKILL")
    assert process.wait_for_exit(60).signal == "SIGKILL"
    with pytest.raises(ProcessEnded):
        process.signal(15)


def test_all_are_stopped_at_once(left: Sandbox) -> None:
    for number in range(5):
        left.start("trap '' TERM; while :; do sleep 0.05; done", f"deaf-{number}", restart="always")
    ended = left.stop_all(grace=0.5)
    assert [info.state for info in ended] == ["ended"] * 5


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "10.0.0.2"])
def test_a_port_that_opens_later_is_waited_for(left: Sandbox, address: str) -> None:
    code = f"import socket, time; time.sleep(0.3); s = socket.create_server(({address!r}, 8300)"
    code += f", family=socket.{'AF_INET6' if ':' in address else 'AF_INET'}); time.sleep(1000)"
    process = left.start(["python3", "-c", code])
    assert process.wait_for_port(8300, timeout=60) is None


def test_http_is_asked_until_it_answers_as_it_should(left: Sandbox) -> None:
    process = left.start(["python3", "-c", SERVER, "127.0.0.1", "8301"])
    assert process.wait_for_port(8301, "/health?a=b", timeout=60) == 200
    assert process.wait_for_port(8301, "/", status=(200, 200), timeout=60) == 200
    with pytest.raises(WaitTimeout):
        process.wait_for_port(8301, "/", status=404, timeout=0.3)


@pytest.mark.parametrize("what", ["port", "http", "log", "regex"])
def test_a_wait_ends_with_the_process(left: Sandbox, what: str) -> None:
    process = left.start("while [ ! -e /tmp/end ]; do sleep 0.02; done; rm /tmp/end; exit 9")
    waits = {
        "port": lambda: process.wait_for_port(8302),
        "http": lambda: process.wait_for_port(8302, "/"),
        "log": lambda: process.wait_for_log("never"),
        "regex": lambda: process.wait_for_log(re.compile("^never$")),
    }
    timer = threading.Timer(0.3, lambda: left.files.write("/tmp/end", ""))
    timer.start()
    with pytest.raises(ProcessEnded) as caught:
        waits[what]()
    timer.join()
    assert caught.value.info is not None
    assert (caught.value.info.exit_code, caught.value.info.state) == (9, "ended")


def test_lines_earlier_later_unfinished_and_by_expression(left: Sandbox) -> None:
    command = "echo Listening on :4242; sleep 0.4; echo READY >&2; printf 'login: '; sleep 1000"
    process = left.start(command)
    found = process.wait_for_log(re.compile(r"LISTENING on :(?P<port>\d+)", re.IGNORECASE), 60)
    assert (found.line, found.match) == ("Listening on :4242", "Listening on :4242")
    assert found.groups == ["4242"]
    assert process.wait_for_log("READY", 60).cursor > found.cursor
    assert process.wait_for_log("Listening", 60).cursor == found.cursor
    assert process.wait_for_log("login:", 60).line == "login: "
    with pytest.raises(WaitTimeout):
        process.wait_for_log("READY", 0.3, stream="stdout")
    with pytest.raises(InvalidRequest, match="look-around"):
        process.wait_for_log(re.compile("(?=x)"))


def test_failures_are_restarted_with_a_count_and_a_stop_ends_that(left: Sandbox) -> None:
    left.run("rm -f /tmp/n")
    command = "n=$(cat /tmp/n 2>/dev/null || echo 0); echo $((n+1)) > /tmp/n; exit $((n < 2))"
    ended = left.start(command, restart="on-failure").wait_for_exit(60)
    assert (ended.restarts, ended.exit_code) == (2, 0)
    process = left.start("echo run; exit 0", restart="always")
    until(lambda: process.info().restarts >= 2, "restarts")
    stopped = process.stop()
    marks = [record.json for record in process.log().records if record.kind == "mark"]
    starts = [mark for mark in marks if mark["event"] == "start"]
    assert stopped.state == "ended"
    assert [mark["restarts"] for mark in starts] == list(range(stopped.restarts + 1))
    assert marks[-1]["restarting"] is False


def test_on_exit_calls_a_function_with_how_it_ended(left: Sandbox) -> None:
    told: list[BackgroundInfo] = []
    with left.start("exit 6", on_exit=told.append) as process:
        until(lambda: told, "the call")
    assert (told[0].name, told[0].exit_code) == (process.name, 6)
    untold: list[BackgroundInfo] = []
    process = left.start("sleep 1000", on_exit=untold.append)
    process.close()
    process.stop()
    assert untold == []


def test_on_exit_runs_a_command_in_the_sandbox(left: Sandbox) -> None:
    hook = "echo $WARDIAN_PROCESS,$WARDIAN_EXIT_CODE,$WARDIAN_SIGNAL"
    process = left.start("exit 7", "seven", on_exit=hook)
    process.wait_for_exit(60)
    until(lambda: process.log().text == "seven,7,\n", "what the command said")
    process = left.start("kill -9 $$", "killed", on_exit=hook)
    process.wait_for_exit(60)
    until(lambda: process.log().text == "killed,,SIGKILL\n", "what the command said")


def test_a_name_is_used_again_and_old_cursors_are_refused(left: Sandbox) -> None:
    old = left.start("echo old", "same")
    old.wait_for_exit(60)
    new = left.start("echo new; sleep 1000", "same")
    assert new.wait_for_log("new", 60).line == "new"
    assert new.log().text == "new\n"
    with pytest.raises(LogReplaced):
        next(old.follow())


def test_the_cap_drops_the_oldest_and_the_gap_is_told(left: Sandbox) -> None:
    process = left.start("seq 1 400000; sleep 1000", log_limit=1 << 20)
    process.wait_for_log("400000", 60)
    info = process.info()
    assert 0 < info.log.start < info.log.end <= info.log.start + (1 << 20)
    gap, *rest = process.log(since=0).records
    assert (gap.kind, gap.json["lost"], gap.next) == ("gap", info.log.start, info.log.start)
    text = joined(rest).decode()
    numbers = [int(line) for line in text.split("\n")[1:-1]]
    assert numbers == list(range(numbers[0], 400001))
    assert process.log(since=-10).text.endswith("400000\n")


def test_fifty_megabytes_arrive_whole_through_cut_connections(left: Sandbox) -> None:
    command = "while [ ! -e /tmp/go ]; do sleep 0.02; done; rm /tmp/go; "
    command += "head -c 50000000 /dev/urandom | tee /tmp/sent"
    process = left.start(command)
    digest, size, cuts = hashlib.sha256(), 0, 0
    left.files.write("/tmp/go", "")
    cursor: int | None = 0
    while True:
        taken, want = 0, 7_000_000
        for record in process.follow(since=cursor):
            assert record.kind != "gap"
            if record.kind == "stdout":
                digest.update(record.data)
                taken += len(record.data)
            cursor = record.next
            if taken > want:
                break
        size += taken
        if taken <= want:
            break
        cuts += 1
    assert cuts >= 7
    assert size == 50_000_000
    assert digest.hexdigest() == left.run(["sha256sum", "/tmp/sent"]).stdout.split()[0]


def test_a_follower_that_stops_reading_holds_up_nobody(left: Sandbox) -> None:
    command = "while [ ! -e /tmp/go ]; do sleep 0.02; done; rm /tmp/go; "
    command += "head -c 100000000 /dev/zero; echo end"
    process = left.start(command, log_limit=8 << 20)
    stalled = process.follow()
    assert next(stalled).kind == "mark"
    left.files.write("/tmp/go", "")
    received = joined(list(left.background_process(process.name).follow()))
    assert len(received) <= 100_000_004 and received.endswith(b"end\n")
    assert process.wait_for_exit(60).exit_code == 0
    kinds = {record.kind for record in stalled}
    assert "gap" in kinds


def test_a_full_disk_costs_log_and_never_the_process(make: Make) -> None:
    sandbox = make("base", limits={"disk_mb": 64})
    fill = "cat /dev/zero > /fill; while echo x >> /fill2; do :; done; true"
    sandbox.run(fill, user="root")
    process = sandbox.start("seq 1 300000; echo $? > /dev/shm/code; sleep 1000", log_limit=8 << 20)
    until(lambda: sandbox.run("cat /dev/shm/code").stdout == "0\n", "the process goes on")
    sandbox.run("rm -f /fill /fill2", user="root")
    process.stop()
    records = list(process.follow())
    assert any(record.kind == "gap" for record in records)
    assert records[-1].kind == "mark" and records[-1].json["event"] == "end"


def test_what_root_does_to_the_log_is_a_gap_and_nothing_worse(left: Sandbox) -> None:
    process = left.start(
        "seq 1 20000; while [ ! -e /tmp/go ]; do sleep 0.02; done; rm /tmp/go; echo more"
    )
    process.wait_for_log("20000", 60)
    folder = f"{LOGS}/{process.name}"
    spoil = f"cd {folder} && for f in *; do head -c 100000 /dev/urandom > $f; done"
    assert left.run(spoil, user="root").ok
    assert [record.kind for record in process.log().records] == ["gap"]
    assert left.run(f"rm -rf {folder}; mkfifo {folder}", user="root").ok
    assert {record.kind for record in process.log().records} == {"gap"}
    left.files.write("/tmp/go", "")
    assert process.wait_for_exit(60).exit_code == 0
    assert left.run("echo alive").stdout == "alive\n"


def test_only_root_can_read_or_change_a_log(left: Sandbox) -> None:
    process = left.start("echo secret; sleep 1000")
    process.wait_for_log("secret", 60)
    assert not left.run(f"ls {LOGS}/{process.name} || exit 1", user="user").ok


@pytest.mark.parametrize("parts", [("control",), ("edge",), ("control", "edge")], ids="+".join)
def test_a_follower_lives_through_the_death_of(node: Any, left: Sandbox, parts: tuple[str]) -> None:
    command = "seq 1 1000; while [ ! -e /tmp/go ]; do sleep 0.02; done; rm /tmp/go; seq 1001 2000"
    process = left.start(command)
    seen: list[LogRecord] = []
    failures: list[BaseException] = []

    def follow() -> None:
        try:
            for record in process.follow():
                seen.append(record)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    until(lambda: joined(seen).endswith(b"\n1000\n"), "the first half")
    for part in parts:
        os.kill(part_of(node.supervisor, part).pid, signal.SIGKILL)
    until(lambda: left.files.write("/tmp/go", "") or True, "the server again")
    thread.join(60)
    assert not failures and not thread.is_alive()
    assert joined(seen) == b"".join(b"%d\n" % n for n in range(1, 2001))


def test_waits_live_through_the_death_of_the_edge(node: Any, left: Sandbox) -> None:
    process = left.start(
        "while [ ! -e /tmp/go ]; do sleep 0.02; done; rm /tmp/go; echo now; sleep 1000"
    )
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(process.wait_for_log("now", 60).line))
    thread.start()
    os.kill(part_of(node.supervisor, "edge").pid, signal.SIGKILL)
    until(lambda: left.files.write("/tmp/go", "") or True, "the server again")
    thread.join(60)
    assert found == ["now"]


def test_the_asyncio_half(base: Sandbox) -> None:
    async def main() -> None:
        sandbox = await AsyncSandbox.get(base.id)
        told = asyncio.Event()

        async def on_exit(info: BackgroundInfo) -> None:
            assert info.exit_code == 0
            told.set()

        async with await sandbox.start("echo one; sleep 0.3; echo two", on_exit=on_exit) as process:
            lines = [record.text async for record in process.follow() if record.kind == "stdout"]
            assert "".join(lines) == "one\ntwo\n"
            async with asyncio.timeout(60):
                await told.wait()
        await process.remove()
        process = await sandbox.start("sleep 1000", on_exit=on_exit)
        waits = (process.wait_for_port(8303), process.wait_for_log("x"), process.wait_for_exit())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.gather(*waits)
        told.clear()
        await process.close()
        await process.remove()
        assert not told.is_set()

    asyncio.run(main())


def test_the_same_through_the_api_with_a_key(left: Sandbox, http: httpx.Client) -> None:
    path = f"/v1/sandboxes/{left.id}/processes"
    made = http.post(path, json={"command": "echo hello; exit 2", "name": "api"})
    assert (made.status_code, made.json()["name"]) == (201, "api")
    ended = http.get(f"{path}/api/wait", params={"for": "exit"})
    assert (ended.status_code, ended.json()["exit_code"]) == (200, 2)
    log = http.get(f"{path}/api/log", headers={"Accept": "text/plain"})
    assert log.text == "hello\n"
    refused = http.get(f"{path}/api/wait", params={"for": "log", "text": "never"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "process_ended")
    assert http.post(path, json={"command": "true", "unknown": 1}).status_code == 400
    assert http.delete(path).status_code == 204


def test_at_most_256_and_the_oldest_ended_makes_room(make: Make) -> None:
    sandbox = make("minimal", limits={"pids": 1024})
    first = sandbox.start(["true"], "first")
    first.wait_for_exit(60)
    for number in range(255):
        sandbox.start(["true"], f"p{number}")
    last = sandbox.start(["true"], "last")
    names = {each.name for each in sandbox.background_processes()}
    assert len(names) == 256 and "first" not in names and last.name in names


def test_processes_are_unknown_to_another_sandbox(left: Sandbox, make: Make) -> None:
    process: BackgroundProcess = left.start("sleep 1000", "mine")
    with pytest.raises(ProcessNotFound):
        make().background_process(process.name)
