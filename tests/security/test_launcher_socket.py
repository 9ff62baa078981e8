"""The one privileged socket: who may speak to it, and what noise does to it."""

from __future__ import annotations

import array
import base64
import json
import os
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.waiting import until

from wardian import Sandbox

_PEER = (Path(__file__).parent / "launcher_peer.py").read_text()
_LAYER = "0" * 64
_NOBODY = 65534


def _as_user(node: Any, uid: int, gid: int, steps: list[dict[str, Any]]) -> list[Any]:
    """What a process of that user gets out of the socket."""
    who = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--inh-caps=-all"]
    done = subprocess.run(
        ["setpriv", *who, "/usr/bin/python3", "-c", _PEER, str(node.launcher_socket)],
        input=json.dumps(steps), capture_output=True, text=True, timeout=100, cwd="/", env={},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _control(node: Any, *steps: dict[str, Any]) -> list[Any]:
    return _as_user(node, node.control_uid, node.gid, list(steps))


def _hello(node: Any) -> None:
    (reply,) = _control(node, {"request": {"op": "hello", "version": 1}})
    assert reply["ok"]["kind"] == "hello"


def _all_requests(sandbox: str) -> list[dict[str, Any]]:
    boot = {"sandbox": sandbox, "access_token": None, "hostname": "h", "default_user": "root",
            "default_workdir": None, "env": {}, "trust": "", "memory_bytes": 2**28,
            "cpu_millis": 1000, "disk_bytes": 2**28}  # fmt: skip
    limits = {"memory_bytes": 2**28, "pids": 64, "cpu_millis": 1000, "disk_bytes": 2**28,
              "io_bytes_per_second": None}  # fmt: skip
    return [
        {"op": "hello", "version": 1},
        {"op": "create", "sandbox": sandbox, "layers": [_LAYER], "limits": limits, "boot": boot},
        {"op": "kill", "sandbox": sandbox},
        {"op": "list"},
        {"op": "usage", "sandbox": sandbox},
        {"op": "freeze", "sandbox": sandbox},
        {"op": "thaw", "sandbox": sandbox},
        {"op": "import_layer", "layer": _LAYER},
        {"op": "remove_layer", "layer": _LAYER},
        {"op": "list_layers"},
        {"op": "watch"},
    ]


def test_the_socket_is_closed_to_everybody_else(node: Any) -> None:
    replies = _as_user(node, _NOBODY, _NOBODY, [{"request": {"op": "list"}}])
    assert replies == [{"connect": "Permission denied"}]
    status = os.stat(node.launcher_socket)
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert (status.st_uid, status.st_gid) == (0, node.gid)
    assert stat.S_IMODE(os.stat(node.run).st_mode) == 0o750


def test_the_group_alone_opens_nothing(node: Any, base: Sandbox) -> None:
    """Somebody else who got into the group can connect, and may ask for nothing."""
    steps = [{"request": request} for request in _all_requests(base.id)]
    steps.append({"request": {"op": "open_sockets", "sandbox": base.id, "count": 1}})
    for reply in _as_user(node, _NOBODY, node.gid, steps):
        assert "ok" not in reply
        assert reply.get("error", {"code": "denied"})["code"] == "denied"
    assert base.run("echo alive").stdout == "alive\n"


def test_the_edge_can_only_ask_for_sockets(node: Any, base: Sandbox) -> None:
    steps = [{"request": request} for request in _all_requests(base.id)]
    for request, reply in zip(steps, _as_user(node, node.edge_uid, node.gid, steps), strict=True):
        if request["request"]["op"] == "hello":
            continue
        assert reply["error"]["code"] == "denied", request
    sockets = {"op": "open_sockets", "sandbox": base.id, "count": 2}
    inner = {"op": "open_inner_sockets", "sandbox": base.id, "family": "ipv6", "count": 2}
    for request in (sockets, inner):
        (reply,) = _as_user(node, node.edge_uid, node.gid, [{"request": request}])
        assert reply["ok"] == {"kind": "sockets", "count": 2}
    assert base.run("echo alive").stdout == "alive\n"


def test_fields_are_read_strictly(node: Any, base: Sandbox) -> None:
    good = _all_requests(base.id)[1]
    new = "b" * 20
    boot = good["boot"] | {"sandbox": new}
    bad: list[dict[str, Any]] = [
        {"op": "nothing"},
        {"op": "list", "more": 1},
        {"op": "kill"},
        {"op": "kill", "sandbox": "../../../etc"},
        {"op": "kill", "sandbox": base.id.upper()},
        {"op": "kill", "sandbox": [base.id]},
        {"op": "remove_layer", "layer": "../" * 21 + "x"},
        {"op": "remove_layer", "layer": "A" * 64},
        {"op": "open_sockets", "sandbox": base.id, "count": 0},
        {"op": "open_sockets", "sandbox": base.id, "count": 17},
        {"op": "open_sockets", "sandbox": base.id, "count": 2**32},
        {"op": "open_sockets", "sandbox": base.id, "count": -1},
        {"op": "open_inner_sockets", "sandbox": base.id, "family": "ipv4", "count": 17},
        {"op": "open_inner_sockets", "sandbox": base.id, "family": "unix", "count": 1},
        good | {"sandbox": new},  # the boot configuration names another
        good | {"sandbox": new, "boot": boot, "layers": []},
        good | {"sandbox": new, "boot": boot, "layers": [_LAYER] * 65},
        good | {"sandbox": new, "boot": boot, "layers": ["../x"]},
        good | {"sandbox": new, "boot": boot, "limits": good["limits"] | {"memory_bytes": 1}},
        good | {"sandbox": new, "boot": boot, "limits": good["limits"] | {"pids": 0}},
        good | {"sandbox": new, "boot": boot, "limits": good["limits"] | {"cpu_millis": 0}},
        good | {"sandbox": new, "boot": boot, "limits": good["limits"] | {"disk_bytes": 0}},
        good | {"sandbox": new, "boot": boot | {"hostname": "a/../b"}},
        good | {"sandbox": new, "boot": boot | {"hostname": "a\nb"}},
        {"op": "import_layer", "layer": _LAYER},  # without a descriptor to read from
    ]
    for request, reply in zip(bad, _control(node, *({"request": r} for r in bad)), strict=True):
        assert reply["error"]["code"] == "invalid_request", request
    (listed,) = _control(node, {"request": {"op": "list"}})
    assert new not in [each["sandbox"] for each in listed["ok"]["sandboxes"]]
    assert base.run("echo alive").stdout == "alive\n"


_NOISE = {
    "nothing": b"",
    "half a header": b"\0\0",
    "half a frame": struct.pack("!I", 100) + b'{"op":',
    "no JSON": struct.pack("!I", 4) + b"noop",
    "empty frame": struct.pack("!I", 0),
    "invalid UTF-8": struct.pack("!I", 4) + b'"\xff\xfe"',
    "too long": struct.pack("!I", 4 * 1024 * 1024 + 1) + b"x" * 1000,
    "longest length": b"\xff" * 4 + b"x" * 100_000,
    "deep nesting": struct.pack("!I", 2**20) + b"[" * 2**20,
    "HTTP": b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a list": struct.pack("!I", 15) + b'[{"op":"list"}]',
}


@pytest.mark.parametrize("noise", _NOISE)
def test_noise_changes_nothing(node: Any, base: Sandbox, noise: str) -> None:
    before = node.launcher_pid()
    data = base64.b64encode(_NOISE[noise]).decode()
    (reply,) = _control(node, {"bytes": data})
    assert "ok" not in reply
    _hello(node)
    assert node.launcher_pid() == before
    assert base.run("echo alive").stdout == "alive\n"


@pytest.fixture
def connect(node: Any) -> Iterator[Any]:
    """Connections of this process, which is root."""
    opened: list[socket.socket] = []

    def make() -> socket.socket:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(10)
        stream.connect(str(node.launcher_socket))
        opened.append(stream)
        return stream

    yield make
    for stream in opened:
        stream.close()


def test_those_who_say_nothing_hold_nobody_up(node: Any, connect: Any) -> None:
    for index in range(100):
        try:
            connect().sendall(struct.pack("!I", 1000) + b"{" if index % 2 else b"\0")
        except OSError:
            break  # The launcher may turn away who is too much.
    _hello(node)


def test_descriptors_nobody_asked_for_are_closed(node: Any, connect: Any) -> None:
    """A peer can't fill the launcher's table with files it sends along."""
    table = Path(f"/proc/{node.launcher_pid()}/fd")
    before = len(list(table.iterdir()))
    body = json.dumps({"op": "hello", "version": 1}).encode()
    with open("/dev/null") as null:
        rights = array.array("i", [null.fileno()] * 200)
        for _ in range(50):
            try:
                connect().sendmsg(
                    [struct.pack("!I", len(body)) + body],
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)],
                )
            except OSError:
                continue
    until(lambda: len(list(table.iterdir())) < before + 200, "the launcher closes them")
    _hello(node)


def test_replies_nobody_reads_do_not_pile_up(node: Any, connect: Any) -> None:
    """A peer that asks and never reads is stopped by its own socket, not by our memory."""
    status = Path(f"/proc/{node.launcher_pid()}/status")

    def resident() -> int:
        line = next(li for li in status.read_text().splitlines() if li.startswith("VmRSS"))
        return int(line.split()[1])

    before = resident()
    body = json.dumps({"op": "list"}).encode()
    frame = struct.pack("!I", len(body)) + body
    stream = connect()
    stream.settimeout(1)
    try:
        for _ in range(2000):
            stream.sendall(frame * 100)
    except OSError:
        pass
    assert resident() - before < 32 * 1024
    _hello(node)


def test_the_records_of_the_launcher_are_its_own(node: Any) -> None:
    private = Path(node.run, "launcher")
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert private.stat().st_uid == 0
