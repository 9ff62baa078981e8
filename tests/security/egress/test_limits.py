"""Sandboxes that take more than their share, and clients that never finish."""

from __future__ import annotations

from integration.waiting import until

from .confined import ALLOWED, ALLOWED_ADDRESS, OPENED, SPLICED, Talk
from .conftest import Confine

_OUTER = f"GET /outer HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n\r\n"
_MANY = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
made = []
for n in range(1500):
    s = socket.socket(); s.settimeout(10)
    made.append(s)
    try:
        s.connect((sys.argv[1], 9000))
        s.sendall(b"\\0held")
    except OSError:
        pass
held = refused = 0
for s in made:
    try:
        held += s.recv(5) != b""
        refused += 0
    except OSError:
        refused += 1
print(held, len(made) - held, flush=True)
time.sleep(float(sys.argv[2]))
"""


def test_one_sandbox_holds_so_many_connections_and_no_more(confine: Confine) -> None:
    inside, neighbour = confine(SPLICED), confine(SPLICED)
    holding = inside.sandbox.spawn(
        ["python3", "-c", _MANY, ALLOWED, "60"], user="root", stdin=False
    )
    held, refused = map(int, next(iter(holding)).text.split())
    # A machine that is busy may give up on some that it was allowed.
    assert 500 <= held <= 1024
    assert held + refused == 1500
    inside.told(kind="connection", verdict="denied", reason="too_many")
    assert neighbour.say(Talk(ALLOWED, 80, [_OUTER])).status == 200
    holding.kill()
    assert neighbour.say(Talk(ALLOWED, 80, [_OUTER])).status == 200


def test_whoever_does_not_finish_is_let_go(confine: Confine) -> None:
    """Each of these is cut after its time, all at once so that the test takes it only once."""
    inside = confine(OPENED)
    half_hello = b"\x16\x03\x01\x02\x00\x01"
    unfinished = [
        Talk(ALLOWED, 80, [], wait=40),
        Talk(ALLOWED, 443, [], wait=40),
        Talk(ALLOWED, 80, ["GET /outer HTT"], wait=40),
        Talk(ALLOWED, 80, [f"GET /outer HTTP/1.1\r\nHost: {ALLOWED}\r\nX"], wait=40),
        Talk(ALLOWED, 443, [half_hello], wait=40),
        Talk(ALLOWED, 443, [half_hello, *[b"\1"] * 30], gap=1, wait=40),
        Talk(ALLOWED, 80, ["PRI * HTTP/2.0\r\n"], wait=40),
        Talk(ALLOWED, 80, list("GET /outer HTTP/1.1\r\nX: " + "y" * 30), gap=1, wait=40),
    ]
    for talk, heard in zip(unfinished, inside.talk(*unfinished), strict=True):
        assert heard.end != "silent", talk
        assert heard.status in (None, 400, 403, 408), heard
    assert inside.outside.record.requests == []
    inside.told(verdict={"denied", "failed"}, reason="timeout", host=ALLOWED)


def test_a_refused_sandbox_costs_the_node_little(confine: Confine) -> None:
    """Thousands of refused connections: a neighbour is served, and the record stays small."""
    inside, neighbour = confine([]), confine(SPLICED)
    script = (
        "import socket\n"
        "for n in range(3000):\n"
        "    s = socket.socket(); s.settimeout(5)\n"
        "    try: s.connect(('1.1.1.1', 1 + n)); s.recv(1)\n"
        "    except OSError: pass\n"
        "    s.close()\n"
    )
    # A sandbox that may reach nothing is listened to a little later than others.
    until(lambda: inside.talk(Talk("1.1.1.1", 9, wait=1)) and inside.events(), "the listener")
    busy = inside.sandbox.spawn(["python3", "-c", script], stdin=False)
    for _ in range(5):
        assert neighbour.say(Talk(ALLOWED, 80, [_OUTER])).status == 200
    assert busy.wait().exit_code == 0
    inside.nothing_got_out(but={ALLOWED_ADDRESS})
    inside.told(kind="connection", verdict="denied", reason="no_rule", host="1.1.1.1")
