"""The handlers' process, asked over its socket as the edge asks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from wardian.handlers import state_directory
from wardian.handlers._frames import FIRST_CREDIT, Kind

from .edge_peer import Process, running

CODE = """
import asyncio
from wardian.handlers import Refuse, Request, Response, UpstreamFailed, handler

gone = []

@handler("plain")
async def plain(request, sandbox):
    request.headers["X-Team"] = sandbox.labels["team"]
    request.url += "&c=" + request.parameters.get("c", "")
    return request

@handler("own")
async def own(request, sandbox):
    return Response(201, {"X-A": "b"}, json={"id": sandbox.id})

@handler("echo")
async def echo(request, sandbox):
    return Response(body=request.stream())

@handler("edit")
async def edit(request, sandbox):
    body = await request.body()
    return request.replace(body=body.replace(b"a", b"bb"))

@handler("edit-stream")
async def edit_stream(request, sandbox):
    async def upper():
        async for piece in request.stream():
            yield piece.upper()
    return request.replace(body=upper())

@handler("see")
async def see(request, sandbox):
    response = await request.send()
    seen = 0
    async def count():
        nonlocal seen
        async for piece in response.stream():
            seen += len(piece)
            yield piece
        yield b"[%d]" % seen
    response.headers["X-Seen"] = "yes"
    return response.replace(body=count())

@handler("fallback")
async def fallback(request, sandbox):
    try:
        return await request.send()
    except UpstreamFailed as error:
        return Response(503, body=str(error))

@handler("refuse")
async def refuse(request, sandbox):
    raise Refuse(429, "enough for today")

@handler("bad")
async def bad(request, sandbox):
    raise ValueError("token s3cr3t")

@handler("whole")
async def whole(request, sandbox):
    await request.body(limit=10)
    return request

@handler("whole-answer")
async def whole_answer(request, sandbox):
    response = await request.send()
    await response.json(limit=10)
    return response

@handler("late")
async def late(request, sandbox):
    await asyncio.sleep(3600)

@handler("wait")
async def wait(request, sandbox):
    try:
        await asyncio.sleep(3600)
    finally:
        gone.append(1)

@handler("gone")
async def how_many(request, sandbox):
    return Response(body=str(len(gone)))

@handler("elsewhere")
async def elsewhere(request, sandbox):
    request.url = "https://evil.example/"
    return request

@handler("nothing")
async def nothing(request, sandbox):
    pass

@handler("endless")
async def endless(request, sandbox):
    async def zeros():
        while True:
            yield bytes(100_000)
    return Response(body=zeros())

@handler("breaks")
async def breaks(request, sandbox):
    async def some():
        yield b"some"
        raise RuntimeError
    return Response(body=some())
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    with running(tmp_path, {"all.py": CODE}) as process:
        yield process


def test_a_request_is_changed_and_goes_past_the_handler(process: Process) -> None:
    peer = process.connect()
    for number in range(3):
        peer.request("plain", headers=[["x-team", "forged"], ["a", "é"]], parameters={"c": "d"})
        head = peer.expect(Kind.FORWARD)
        assert head["headers"] == [["X-Team", "a"], ["a", "é"]], number
        assert head["url"] == "https://api.example.com/v1?a=b&c=d"
        assert (head["body"], head["response"]) == ("none", "passthrough")
    peer.request("plain", body=True)
    assert peer.expect(Kind.FORWARD)["body"] == "original"


def test_a_handler_answers_alone(process: Process) -> None:
    peer = process.connect()
    peer.request("own")
    head = peer.expect(Kind.ANSWER)
    assert head["status"] == 201 and ["X-A", "b"] in head["headers"]
    assert ["Content-Type", "application/json"] in head["headers"]
    body = peer.body(Kind.ANSWER_BODY, Kind.ANSWER_END)
    assert json.loads(body) == {"id": "s" * 20} and len(body) == head["length"]


def test_bodies_stream_both_ways_and_no_faster_than_they_are_taken(process: Process) -> None:
    peer = process.connect()
    peer.request("echo", body=True)
    heads = {}
    while len(heads) < 2:
        kind, payload = peer.next()
        heads[kind] = payload
    assert heads[Kind.ANSWER]["length"] is None
    assert heads[Kind.CREDIT] == b"b" + FIRST_CREDIT.to_bytes(4, "big")
    for piece in (b"one", b"two"):
        # The next piece is sent only once the last has come back.
        peer.send(Kind.REQUEST_BODY, piece)
        assert peer.expect(Kind.ANSWER_BODY) == piece
    peer.send(Kind.REQUEST_END)
    peer.expect(Kind.ANSWER_END)
    peer.request("endless")
    peer.expect(Kind.ANSWER)
    seen = 0
    while seen < FIRST_CREDIT:
        seen += len(peer.expect(Kind.ANSWER_BODY))
    assert seen == FIRST_CREDIT
    peer.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        peer.next()
    peer.socket.settimeout(20)
    peer.credit(Kind.ANSWER_BODY, 5)
    assert len(peer.expect(Kind.ANSWER_BODY)) == 5


def test_bodies_of_requests_are_edited(process: Process) -> None:
    peer = process.connect()
    peer.request("edit", method="POST", body=True)
    peer.expect(Kind.CREDIT)
    for piece in (b"ban", b"ana"):
        peer.send(Kind.REQUEST_BODY, piece)
    peer.send(Kind.REQUEST_END)
    head = peer.expect(Kind.FORWARD)
    assert (head["body"], head["length"], head["response"]) == ("stream", 9, "passthrough")
    assert peer.body(Kind.FORWARD_BODY, Kind.FORWARD_END) == b"bbbnbbnbb"
    peer.request("edit-stream", method="POST", body=True)
    assert peer.expect(Kind.FORWARD)["length"] is None
    peer.expect(Kind.CREDIT)
    peer.send(Kind.REQUEST_BODY, b"x")
    assert peer.expect(Kind.FORWARD_BODY) == b"X"
    peer.send(Kind.REQUEST_END)
    peer.expect(Kind.FORWARD_END)


def test_a_large_body_passes_through_with_constant_credit(process: Process) -> None:
    peer = process.connect()
    peer.request("see")
    peer.expect(Kind.FORWARD)
    peer.send(Kind.RESPONSE, {"status": 200, "headers": [["a", "b"]], "length": None})
    head = peer.expect(Kind.ANSWER)
    assert head["headers"] == [["a", "b"], ["X-Seen", "yes"]]
    left, credit, back = 4_000_000, FIRST_CREDIT, 0
    piece = bytes(50_000)
    ended = False
    while True:
        while left and credit >= len(piece):
            peer.send(Kind.RESPONSE_BODY, piece)
            left, credit = left - len(piece), credit - len(piece)
        if not left and not ended:
            peer.send(Kind.RESPONSE_END)
            ended = True
        kind, payload = peer.next()
        if kind is Kind.CREDIT:
            credit += int.from_bytes(payload[1:], "big")
        elif kind is Kind.ANSWER_END:
            break
        else:
            back += len(payload)
            peer.credit(Kind.ANSWER_BODY, len(payload))
    assert back == 4_000_000 + len(b"[4000000]")


def test_an_event_stream_passes_event_by_event(process: Process) -> None:
    peer = process.connect()
    peer.request("see")
    assert peer.expect(Kind.FORWARD)["response"] == "stream"
    peer.send(Kind.RESPONSE, {"status": 200, "headers": [], "length": None})
    peer.expect(Kind.ANSWER)
    for number in range(5):
        event = b"data: %d\n\n" % number
        peer.send(Kind.RESPONSE_BODY, event)
        assert peer.expect(Kind.ANSWER_BODY) == event
    peer.send(Kind.RESPONSE_END)
    assert peer.body(Kind.ANSWER_BODY, Kind.ANSWER_END) == b"[45]"


def test_a_handler_may_answer_where_nothing_came(process: Process) -> None:
    peer = process.connect()
    peer.request("fallback")
    peer.expect(Kind.FORWARD)
    peer.send(Kind.FAILURE, {"reason": "no such name"})
    assert peer.expect(Kind.ANSWER)["status"] == 503
    assert peer.body(Kind.ANSWER_BODY, Kind.ANSWER_END) == b"no such name"


def test_a_refusal_is_told_as_one(process: Process) -> None:
    peer = process.connect()
    peer.request("refuse")
    head = peer.expect(Kind.ANSWER)
    assert head["status"] == 429 and ["Wardian-Egress", "denied"] in head["headers"]
    error = json.loads(peer.body(Kind.ANSWER_BODY, Kind.ANSWER_END))["error"]
    assert error == {"code": "egress_denied", "message": "enough for today"}


def test_no_more_of_a_body_is_held_than_was_to_be(process: Process) -> None:
    peer = process.connect()
    for piece in (b"", b"a"):
        peer.request("whole", method="POST", body=True)
        peer.expect(Kind.CREDIT)
        peer.send(Kind.REQUEST_BODY, b"ten bytes!" + piece)
        peer.send(Kind.REQUEST_END)
        if not piece:
            peer.expect(Kind.FORWARD)
            assert peer.body(Kind.FORWARD_BODY, Kind.FORWARD_END) == b"ten bytes!"
    assert peer.expect(Kind.ANSWER)["status"] == 413
    assert b"more than 10 bytes" in peer.body(Kind.ANSWER_BODY, Kind.ANSWER_END)
    peer.request("whole-answer")
    peer.expect(Kind.FORWARD)
    peer.send(Kind.RESPONSE, {"status": 200, "headers": [], "length": None})
    peer.send(Kind.RESPONSE_BODY, b"eleven bytes")
    assert peer.expect(Kind.FAILURE) == {"reason": "the handler failed"}


@pytest.mark.parametrize("name", ["bad", "elsewhere", "nothing"])
def test_a_handler_that_fails_fails_closed_and_tells_no_secret(process: Process, name: str) -> None:
    peer = process.connect()
    peer.request(name)
    assert peer.expect(Kind.FAILURE) == {"reason": "the handler failed"}
    peer.request("plain")
    peer.expect(Kind.FORWARD)
    process.logged("the handler failed")


def test_a_body_that_breaks_off_ends_the_exchange(process: Process) -> None:
    peer = process.connect()
    peer.request("breaks")
    peer.expect(Kind.ANSWER)
    assert peer.expect(Kind.ANSWER_BODY) == b"some"
    peer.expect(Kind.FAILURE)


def test_a_late_handler_and_one_that_is_not_there(process: Process) -> None:
    peer = process.connect()
    peer.request("late", timeout_ms=50)
    assert "in time" in peer.expect(Kind.FAILURE)["reason"]
    peer.request("none")
    assert peer.expect(Kind.FAILURE)["reason"] == "there is no handler of this name"


def test_a_handler_is_cancelled_when_the_edge_hangs_up(process: Process) -> None:
    waiting, other = process.connect(), process.connect()
    waiting.request("wait")
    other.request("gone")
    other.expect(Kind.ANSWER)
    assert other.body(Kind.ANSWER_BODY, Kind.ANSWER_END) == b"0"
    waiting.socket.close()
    count = b"0"
    for _ in range(1000):
        other.request("gone")
        other.expect(Kind.ANSWER)
        count = other.body(Kind.ANSWER_BODY, Kind.ANSWER_END)
        if count == b"1":
            return
    assert count == b"1"


def test_nonsense_ends_the_connection_and_no_other(process: Process) -> None:
    peer, other = process.connect(), process.connect()
    peer.socket.sendall(b"\xff" * 100)
    with pytest.raises((EOFError, ConnectionError)):
        peer.next()
    other.request("plain")
    other.expect(Kind.FORWARD)


ONE = """
from wardian.handlers import Response, handler

@handler("{name}")
async def answer(request, sandbox):
    return Response(body="{text}")
"""


def ask(process: Process, name: str) -> str:
    peer = process.connect()
    peer.request(name)
    kind, payload = peer.next()
    if kind is Kind.FAILURE:
        return payload["reason"]
    return peer.body(Kind.ANSWER_BODY, Kind.ANSWER_END).decode()


def test_files_are_loaded_anew_and_a_broken_one_keeps_what_it_had(tmp_path: Path) -> None:
    with running(tmp_path, {"a.py": ONE.format(name="a", text="1")}) as process:
        assert ask(process, "a") == "1"
        process.write("a.py", ONE.format(name="a", text="2"))
        process.logged("handlers loaded", 2)
        assert ask(process, "a") == "2"
        process.write("a.py", "import nothing_of_this_name")
        process.logged("handlers loaded", 3)
        assert ask(process, "a") == "2"
        process.write("b.py", ONE.format(name="a", text="3"))
        process.logged("handlers loaded", 4)
        assert "two handlers" in ask(process, "a")
        (process.directory / "a.py").unlink()
        process.logged("handlers loaded", 5)
        assert ask(process, "a") == "3"
        (process.directory / "b.py").unlink()
        process.logged("handlers loaded", 6)
        assert "no handler" in ask(process, "a")


def test_what_runs_goes_on_with_its_own_code(tmp_path: Path) -> None:
    slow = """
from wardian.handlers import Response, handler
from ._text import TEXT

@handler("slow")
async def slow(request, sandbox):
    response = await request.send()
    return Response(body=TEXT)
"""
    files = {"slow.py": slow, "_text.py": "TEXT = 'old'"}
    with running(tmp_path, files) as process:
        peer, other = process.connect(), process.connect()
        peer.request("slow")
        peer.expect(Kind.FORWARD)
        process.write("_text.py", "TEXT = 'new'")
        process.logged("handlers loaded", 2)
        for each, text in ((peer, b"old"), (other, b"new")):
            if each is other:
                each.request("slow")
                each.expect(Kind.FORWARD)
            each.send(Kind.RESPONSE, {"status": 200, "headers": [], "length": 0})
            each.expect(Kind.ANSWER)
            assert each.body(Kind.ANSWER_BODY, Kind.ANSWER_END) == text


def test_what_others_can_write_is_not_loaded(tmp_path: Path) -> None:
    files = {"a.py": ONE.format(name="a", text="1"), "b.py": ONE.format(name="b", text="1")}
    with running(tmp_path, files) as process:
        (process.directory / "b.py").chmod(0o666)
        process.write("c.py", ONE.format(name="c", text="1"))
        process.logged("handlers loaded", 2)
        assert ask(process, "c") == "1"
        process.logged("a file of handlers can't be loaded")
        process.directory.chmod(0o777)
        process.logged("handlers loaded", 3)
        process.logged("no handlers")
        assert "no handler" in ask(process, "a")
        process.directory.chmod(0o755)
        process.logged("handlers loaded", 4)
        assert ask(process, "a") == "1"


STUCK = """
import re
from wardian.handlers import handler

@handler("stuck")
async def stuck(request, sandbox):
    # The interpreter's lock is held all the while.
    re.fullmatch("(a+)+b", "a" * 100)
"""


def test_one_that_holds_up_all_others_for_good_ends_the_process(tmp_path: Path) -> None:
    with running(tmp_path, {"stuck.py": STUCK}, "--stuck-after", "0.5") as process:
        peer = process.connect()
        peer.request("stuck")
        with pytest.raises((EOFError, ConnectionError)):
            peer.next()
        assert process.child.wait(20) not in (0, 64)
        assert "in stuck" in process.log.read_text()


def test_state_has_its_place_or_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WARDIAN_HANDLERS_STATE", str(tmp_path))
    assert state_directory() == tmp_path
    monkeypatch.delenv("WARDIAN_HANDLERS_STATE")
    with pytest.raises(RuntimeError):
        state_directory()


def test_it_stops_when_told_also_while_a_handler_runs(process: Process) -> None:
    peer = process.connect()
    peer.request("wait")
    other = process.connect()
    other.request("plain")
    other.expect(Kind.FORWARD)
    assert process.stop() == 0
    with pytest.raises((EOFError, ConnectionError)):
        peer.next()
