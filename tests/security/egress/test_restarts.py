"""Policies that change, and parts that die, while connections wait."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from integration.waiting import until

from wardian.server.node.temporary import TemporaryNode

from .confined import ALLOWED, ALLOWED_ADDRESS, LEAK, OPENED, OTHER, SPLICED, Confined, Talk
from .conftest import Confine

_OUTER = f"GET /outer HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n\r\n"
_LEAKING = f"GET /{LEAK} HTTP/1.1\r\nHost: {{host}}\r\nConnection: close\r\n\r\n"


def _restarted(node: TemporaryNode, name: str) -> None:
    """Kills a part as nothing else would, and waits for the next."""
    before = getattr(node, f"{name}_pid")()
    os.kill(before, signal.SIGKILL)
    until(lambda: getattr(node, f"{name}_pid")() != before, f"another {name}")
    until(lambda: node.request("GET", "/v1/health")["status"] == "ok", "a healthy node")


def test_what_waits_while_the_edge_is_away_is_decided_by_the_next(
    confine: Confine, node: TemporaryNode
) -> None:
    inside = confine(SPLICED)
    assert inside.say(Talk(ALLOWED, 80, [_OUTER])).status == 200
    os.kill(node.edge_pid(), signal.SIGSTOP)
    script = (
        "import socket, time\n"
        "made = []\n"
        "for host, port in (('198.18.0.1', 80), ('1.1.1.1', 80), ('10.0.0.1', 80)):\n"
        "    for n in range(20):\n"
        "        s = socket.socket(); s.setblocking(False)\n"
        "        s.connect_ex((host, port)); made.append((host, s))\n"
        "time.sleep(0.3)\n"
        "for host, s in made:\n"
        f"    try: s.send(b'GET /{LEAK} HTTP/1.1\\r\\nHost: ' + host.encode() + b'\\r\\n\\r\\n')\n"
        "    except OSError: pass\n"
        "print('sent', flush=True)\n"
        "for host, s in made:\n"
        "    s.settimeout(30)\n"
        "    try: print(s.recv(12))\n"
        "    except OSError as error: print(type(error).__name__)\n"
    )
    # An edge that is stopped can't carry the command's output either, so it goes into a file.
    os.kill(node.edge_pid(), signal.SIGCONT)
    waiting = inside.sandbox.spawn(["sh", "-c", f'python3 -c "{script}" > /tmp/said'], stdin=False)
    os.kill(node.edge_pid(), signal.SIGKILL)
    until(lambda: node.request("GET", "/v1/health")["status"] == "ok", "a healthy node")
    waiting.disconnect()
    until(
        lambda: inside.sandbox.files.read("/tmp/said").count("\n") >= 61, "an end to all", bound=40
    )
    inside.nothing_got_out(but={ALLOWED_ADDRESS})
    assert all(each.target == "/outer" for each in inside.outside.record.requests)
    assert inside.say(Talk(ALLOWED, 80, [_OUTER])).status == 200


def test_a_part_that_dies_leaves_no_gap(confine: Confine, node: TemporaryNode) -> None:
    """A client that never stops trying, while each part is killed in turn."""
    inside = confine(SPLICED)
    script = (
        "import socket, time\n"
        "end = time.monotonic() + 600; tried = 0\n"
        "while time.monotonic() < end:\n"
        "    for host in ('1.1.1.1', '8.8.8.8', '169.254.169.254', '10.0.0.1', '198.18.0.7'):\n"
        "        try:\n"
        "            with socket.create_connection((host, 80), 0.2) as s:\n"
        f"                s.sendall(b'GET /{LEAK} HTTP/1.1\\r\\nHost: other.example\\r\\n\\r\\n')\n"
        "                tried += 1\n"
        "        except OSError: pass\n"
        "    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:\n"
        f"        s.sendto(b'{LEAK}', ('8.8.8.8', 53))\n"
        "    open('/tmp/tried', 'w').write(str(tried))\n"
    )
    inside.sandbox.spawn(["python3", "-c", script], stdin=False).disconnect()
    for part in ("edge", "control", "launcher", "edge"):
        before = _tried(inside)
        _restarted(node, part)
        until(lambda before=before: _tried(inside) > before + 5, "more attempts")
    inside.nothing_got_out()
    assert inside.say(Talk(ALLOWED, 80, [_OUTER], wait=5)).status == 200


def _tried(inside: Confined) -> int:
    text = inside.sandbox.run("cat /tmp/tried 2>/dev/null || echo 0").stdout
    return int(text or 0)


def test_a_policy_holds_while_the_control_plane_is_away(
    confine: Confine, node: TemporaryNode
) -> None:
    inside = confine(OPENED)
    control = node.control_pid()
    os.kill(control, signal.SIGSTOP)
    try:
        good, bad = inside.talk(
            Talk(ALLOWED, 80, [_OUTER]), Talk("1.1.1.1", 80, [_LEAKING.format(host="1.1.1.1")])
        )
    finally:
        os.kill(control, signal.SIGCONT)
    assert good.status == 200
    assert bad.refused
    inside.nothing_got_out(but={ALLOWED_ADDRESS})


def test_a_policy_taken_back_stops_the_next_request(confine: Confine) -> None:
    """On a connection that is open already, too."""
    inside = confine([{"action": "allow", "host": ALLOWED}])
    talk = Talk(ALLOWED, 80, [_OUTER.replace("Connection: close\r\n", ""),
                              _LEAKING.format(host=ALLOWED)], gap=3, wait=8)  # fmt: skip
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(inside.say, talk)
        until(lambda: inside.outside.record.requests, "the first request")
        inside.allow([])
        heard = asked.result()
    assert heard.status == 200
    assert [each.target for each in inside.outside.record.requests] == ["/outer"]
    inside.nothing_got_out(but={ALLOWED_ADDRESS})


def test_a_change_is_in_force_when_the_call_returns(confine: Confine) -> None:
    inside = confine([])
    for _ in range(5):
        inside.allow(SPLICED)
        assert inside.say(Talk(ALLOWED, 80, [_OUTER])).status == 200
        inside.allow([{"action": "allow", "host": OTHER}])
        assert inside.say(Talk(ALLOWED_ADDRESS, 80, [_LEAKING.format(host=ALLOWED)])).refused
        inside.allow([])
    inside.nothing_got_out(but={ALLOWED_ADDRESS})


def test_sandboxes_of_the_past_hand_nothing_down(confine: Confine) -> None:
    """Ids, slots and addresses are used again; policies and names are not."""
    first = confine(SPLICED)
    assert first.say(Talk(ALLOWED, 80, [_OUTER])).status == 200
    first.sandbox.kill()
    for _ in range(5):
        second = confine([])
        heard = second.talk(
            Talk("198.18.0.1", 80, [_LEAKING.format(host=ALLOWED)]),
            Talk("198.18.0.0", 80, [_LEAKING.format(host=ALLOWED)]),
            Talk(ALLOWED_ADDRESS, 80, [_LEAKING.format(host=ALLOWED)]),
        )
        assert all(each.refused for each in heard)
    second.nothing_got_out(but={ALLOWED_ADDRESS})


def test_the_edge_gives_no_file_to_the_sandbox(node: TemporaryNode) -> None:
    """The edge that runs is the only process with sockets of the sandboxes' edge side."""
    assert Path(f"/proc/{node.edge_pid()}/exe").resolve().name == "wardian-edge"
