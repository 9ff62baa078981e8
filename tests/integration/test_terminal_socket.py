"""The WebSocket of terminals: frames, replays, slow clients, and what no client should send."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from wardian import Sandbox
from wardian.sdk._websocket import Opcode, frame

from . import waiting
from .terminal_socket import (
    PATIENCE,
    attached,
    close_code,
    headers,
    notice,
    raw,
    raw_close_code,
    until,
)

KEPT = 256 * 1024


def test_frames_come_in_the_order_of_the_contract(node: Any, base: Sandbox, unique: str) -> None:
    with attached(node, base, unique, "cols=90&rows=20&shell=/bin/sh") as client:
        assert notice(client) == {"type": "ready"}
        client.send(b"stty size; echo $0 mar''ker\n")
        assert b"20 90" in until(client, b"/bin/sh marker")
    with attached(node, base, unique) as client:
        replay = client.recv(PATIENCE)
        assert isinstance(replay, bytes) and b"marker" in replay
        assert json.loads(client.recv(PATIENCE)) == {"type": "ready"}
        client.send(b"exit 3\n")
        assert notice(client) == {"type": "exit", "code": 3}
        assert close_code(client) == 1000
    with attached(node, base, unique, "create=false") as client:
        assert notice(client) == {"type": "ready"}
        assert notice(client) == {"type": "exit", "code": 3}
        assert close_code(client) == 1000


def test_the_end_by_a_signal_reaches_every_client(node: Any, base: Sandbox, unique: str) -> None:
    with attached(node, base, unique) as first, attached(node, base, unique) as second:
        first.send(b"kill -9 $$\n")
        for client in (first, second):
            while (said := notice(client))["type"] == "ready":
                pass
            assert said == {"type": "exit", "code": 137, "signal": "SIGKILL"}
            assert close_code(client) == 1000


def test_what_is_wrong_is_told_and_changes_nothing(node: Any, base: Sandbox, unique: str) -> None:
    with attached(node, base, unique, "cols=80&rows=24") as client:
        assert notice(client)["type"] == "ready"
        for wrong in (
            "no json",
            "[]",
            '{"cols":3}',
            '{"type":"resize","cols":0,"rows":5}',
            '{"type":"resize","cols":-3,"rows":5}',
            '{"type":"resize","cols":"80","rows":5}',
            '{"type":"resize"}',
        ):
            client.send(wrong)
            said = notice(client)
            assert said["type"] == "error" and said["message"]
        client.send('{"type":"no such type","cols":1,"rows":1}')
        client.send(b"stty size\n")
        until(client, b"24 80")
        client.send('{"type":"resize","cols":9999,"rows":5000}')
        client.send(b"stty size\n")
        until(client, b"4096 4096")
    base.kill_terminal(unique)


def test_a_replay_is_long_and_cut_nowhere_within(node: Any, base: Sandbox, unique: str) -> None:
    line = "\\033[1;38;2;10;20;30mé€😀 %06d \\033]0;title é\\007\\033[48;5;7m\\n"
    script = f"printf '\\033[?2004h\\033[?25l'; for i in $(seq 30000); do printf '{line}' $i; done"
    with base.terminal(unique, argv=["bash", "-c", f"{script}; echo END; cat"]) as terminal:
        tail = b""
        while b"END\r\n" not in tail:
            tail = tail[-100:] + terminal.receive(PATIENCE)
    with attached(node, base, unique) as client:
        replay = client.recv(PATIENCE)
    base.kill_terminal(unique)
    assert isinstance(replay, bytes) and len(replay) >= KEPT
    text = replay.decode()
    head, _, rest = text.partition("\x1b[H\x1b[2J")
    assert head.startswith("\x18") and rest
    first, *lines = rest.split("\r\n")
    # Before the first line: what was in force there, in any order.
    modes = first[: first.index("\x1b[1;38;2;10;20;30m")]
    assert {"\x1b[?2004h", "\x1b[?25l", "\x1b[0;1;38;2;10;20;30;48;5;7m"} == set(
        re.findall(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", modes)
    )
    numbers = [int(found) for found in re.findall(r"😀 (\d{6}) ", "\n".join([first, *lines]))]
    assert numbers == list(range(numbers[0], 30001))


def test_a_program_that_draws_the_screen_draws_it_again(
    node: Any, base: Sandbox, unique: str
) -> None:
    # As vim or htop: all once, and all again when the size changes; else small changes only.
    program = (
        "import os, signal, sys\n"
        "def draw(*_):\n"
        "    size = os.get_terminal_size()\n"
        "    print('\\033[2JTHE SCREEN', size.lines, flush=True)\n"
        "signal.signal(signal.SIGWINCH, draw)\n"
        "print('\\033[?1049h', end=''); draw()\n"
        "for n in range(40000): print('\\033[3;3Hchange', n)\n"
        "print('DONE', flush=True)\n"
        "while True: signal.pause()\n"
    )
    base.files.write(f"/tmp/{unique}.py", program)
    with attached(node, base, unique, "cols=80&rows=24") as client:
        notice(client)
        client.send(f"exec python3 /tmp/{unique}.py\n".encode())
        until(client, b"DONE")
    with attached(node, base, unique, "cols=80&rows=24") as client:
        replay = client.recv(PATIENCE)
        assert isinstance(replay, bytes)
        assert b"\x1b[?1049h" in replay and b"THE SCREEN" not in replay
        until(client, b"THE SCREEN 24")
    base.kill_terminal(unique)


def test_a_client_that_stops_reading_stalls_nobody(base: Sandbox, unique: str) -> None:
    size = 64 * 1024 * 1024
    argv = ["bash", "-c", f"read; head -c {size} /dev/zero | tr '\\0' x; echo; echo THE END; cat"]
    with base.terminal(unique, argv=argv) as stalled, base.terminal(unique) as live:
        live.send("\n")
        length, tail = 0, b""
        while not tail.endswith(b"THE END\r\n"):
            data = live.receive(PATIENCE)
            length += data.count(b"x")
            tail = (tail + data)[-100:]
        assert length == size, "a client that reads gets every byte"
        # Only now does the other one read: what it missed is replaced by a picture of the end.
        length, reset, tail = 0, 0, b""
        while not tail.endswith(b"THE END\r\n"):
            data = stalled.receive(PATIENCE)
            length += data.count(b"x")
            reset += data.startswith(b"\x18\x1b[?1049l")
            tail = (tail + data)[-100:]
        assert length < size and reset >= 1
        live.kill()


def test_alone_and_not_reading_holds_up_the_program_for_no_longer_than_a_moment(
    base: Sandbox, unique: str
) -> None:
    argv = ["bash", "-c", f"head -c 64M /dev/zero | tr '\\0' x; touch /tmp/{unique}; cat"]
    with base.terminal(unique, argv=argv):
        waiting.until(lambda: base.run(f"test -e /tmp/{unique}").exit_code == 0, "the end")
    base.kill_terminal(unique)


def test_a_terminal_of_ones_own_goes_with_its_connection(node: Any, base: Sandbox) -> None:
    with attached(node, base, "new") as first, attached(node, base, "new") as second:
        first.send(b"echo pid=$$=\n")
        found = re.search(rb"pid=(\d+)=", until(first, b"pid=", until(first, b"$$=\r\n")) + b"")
        seen = b""
        while found is None:
            message = first.recv(PATIENCE)
            seen += message if isinstance(message, bytes) else b""
            found = re.search(rb"pid=(\d+)=", seen)
        second.send(b"echo other\n")
        assert b"pid=" not in until(second, b"other\r\n")
        assert "new" not in [t.name for t in base.terminals()]
        pid = int(found[1])
        assert base.run(f"test -e /proc/{pid}").exit_code == 0
    waiting.until(lambda: base.run(f"test -e /proc/{pid}").exit_code != 0, "it is gone")


def test_pieces_of_a_message_are_put_together(node: Any, base: Sandbox, unique: str) -> None:
    with attached(node, base, unique, "shell=cat") as client:
        client.send([b"fra", b"gmen", b"ted\n"])
        until(client, b"fragmented")
        client.send([b"x" * 1000] * 1000 + [b"\n"])
        client.ping().wait(PATIENCE)
    base.kill_terminal(unique)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x82\x01x", 1002),
        (b"\xc2" + frame(Opcode.BINARY, b"x")[1:], 1002),
        (b"\x83" + frame(Opcode.BINARY, b"x")[1:], 1002),
        (b"\x80" + frame(Opcode.BINARY, b"x")[1:], 1002),
        (b"\x09" + frame(Opcode.PING, b"x")[1:], 1002),
        (b"\x02" + frame(Opcode.BINARY, b"x")[1:] + frame(Opcode.BINARY, b"x"), 1002),
        (frame(Opcode.TEXT, b"\xff\xfe"), 1007),
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"mask", 1009),
        (frame(Opcode.BINARY, bytes(1024 * 1024 + 1))[:14], 1009),
    ],
    ids=[
        "unmasked",
        "reserved bit",
        "unknown kind",
        "continues nothing",
        "control in pieces",
        "begun twice",
        "no UTF-8",
        "a terabyte",
        "too long",
    ],
)
def test_frames_that_are_none_end_the_connection_and_nothing_else(
    node: Any, base: Sandbox, frames: bytes, code: int
) -> None:
    with attached(node, base, "framing", "shell=cat") as bystander:
        notice(bystander)
        with raw(node, base, "framing") as connection:
            connection.sendall(frames)
            assert raw_close_code(connection) == code
        bystander.send(b"well\n")
        until(bystander, b"well")


def test_handshakes_that_are_none(node: Any, base: Sandbox, http: httpx.Client) -> None:
    good = {
        **headers(base),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    def refused(path: str = "/v1/terminals/main", **changes: str) -> tuple[int, str]:
        reply = http.get(path, headers={**good, **changes})
        return reply.status_code, reply.json()["error"]["code"]

    assert refused(**{"Sec-WebSocket-Version": "8"}) == (426, "invalid_request")
    without_key = {key: value for key, value in good.items() if key != "Sec-WebSocket-Key"}
    assert http.get("/v1/terminals/main", headers=without_key).status_code == 400
    for query in ("cols=x", "rows=0", "cols=-5", "create=perhaps"):
        assert refused(f"/v1/terminals/main?{query}") == (400, "invalid_request")
    assert refused("/v1/terminals/nothing?create=false") == (404, "terminal_not_found")
    assert refused("/v1/terminals/a/b") == (404, "not_found")
    reply = http.get("/v1/terminals", headers={**good, "X-Access-Token": "wrong"})
    assert reply.status_code == 401
    assert not [t for t in base.terminals() if t.name in ("main", "nothing")]


def test_a_terminal_that_can_not_be_made_says_so(node: Any, base: Sandbox) -> None:
    for query in ("cwd=/no-such", "user=no-such", "shell=no-such"):
        with attached(node, base, "unmade", query) as client:
            said = notice(client)
            assert said["type"] == "error" and "no-such" in said["message"]
            assert close_code(client) == 1011
    with pytest.raises(InvalidStatus), attached(node, base, "unmade", "create=false"):
        pass


def test_requests_that_are_none(base: Sandbox, http: httpx.Client) -> None:
    def call(method: str, path: str, body: object = None) -> tuple[int, str]:
        reply = http.request(method, f"/v1/{path}", json=body, headers=headers(base))
        return reply.status_code, reply.json()["error"]["code"]

    assert call("POST", "terminals", {"colums": 80}) == (400, "invalid_request")
    assert call("POST", "terminals", {"rows": -1}) == (400, "invalid_request")
    assert call("POST", "terminals", []) == (400, "invalid_request")
    assert call("PUT", "terminals") == (405, "method_not_allowed")
    assert call("POST", "terminals/x") == (405, "method_not_allowed")
    assert call("GET", "terminals/nothing") == (404, "terminal_not_found")
    assert call("DELETE", "terminals/nothing") == (404, "terminal_not_found")
    assert base.terminal("taken", argv=["cat"]).info().state == "running"
    assert call("POST", "terminals", {"name": "taken"}) == (409, "terminal_exists")
    base.kill_terminal("taken")
    assert os.environ["WARDIAN_URL"]
