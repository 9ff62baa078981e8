"""gRPC and WebSocket through connections that the edge opens: real clients inside, real servers
outside, messages both ways and what comes after them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.authority import Authority
from doubles.grpc_echo import AFTER, Echo, grpc_echo
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

from wardian import Egress, Header, Sandbox, Secrets

from . import sandbox_wheels
from .waiting import until

TOKEN = "token-of-the-streams-0123456789"
NAME = "STREAMS_TOKEN"
GRPC, CHAT = "grpc.team.example", "chat.team.example"
PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="module")
def echo(authority: Authority) -> Iterator[Echo]:
    """The gRPC server."""
    with grpc_echo(authority, GRPC) as server:
        yield server


@pytest.fixture(scope="module")
def chat(authority: Authority) -> Iterator[str]:
    """The WebSocket server's address."""
    context = authority.context(CHAT, http2=False)
    with serve_websocket(_talk, "127.0.0.1", 0, ssl=context, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def _talk(socket: ServerConnection) -> None:
    request = socket.request
    known = request is not None and request.headers.get("authorization") == f"Bearer {TOKEN}"
    # It speaks first.
    socket.send("welcome" if known else "who are you?")
    try:
        for message in socket:
            if message == "bye":
                socket.close(4321, "bye")
            elif isinstance(message, str) and message.startswith("push "):
                for number in range(int(message[5:])):
                    socket.send(f"push {number}")
            else:
                socket.send(message)
    except ConnectionClosed:
        return


@pytest.fixture(scope="module")
def sandbox(node: Any, echo: Echo, chat: str) -> Iterator[Sandbox]:
    """A sandbox with both clients."""
    Secrets().set(NAME, TOKEN, hosts=[GRPC, CHAT])
    token = Header("Authorization", f"Bearer {{{NAME}}}")
    egress = (
        Egress()
        .allow(GRPC, ports=443, name="grpc", connect_to=echo.address, inject=token)
        .allow(CHAT, ports=443, name="chat", connect_to=chat, inject=token)
    )
    env = {"PYTHONPATH": sandbox_wheels.SITE}
    with Sandbox.create("base", egress=egress, env=env, timeout=1200) as made:
        sandbox_wheels.install(made, "grpcio", "websockets")
        yield made


def _run(sandbox: Sandbox, program: str, *arguments: str) -> Any:
    command = ["python3", "-c", (PROGRAMS / program).read_text(), *arguments]
    done = sandbox.run(command, timeout=100)
    assert done.ok, done.stderr
    return json.loads(done.stdout)


def test_grpc_with_what_comes_behind(sandbox: Sandbox, echo: Echo) -> None:
    told = _run(sandbox, "grpc_calls.py", f"{GRPC}:443")
    after = dict([AFTER])
    assert (told["once"], told["once trailers"]) == ("hello", after)
    assert (told["many"], told["many trailers"]) == (["0", "1", "2"], after)
    assert told["many code"] == "OK"
    assert told["both"] == ["A", "B"]
    assert told["large"] == 3_000_000
    # Such an answer is one head, which gets a date as every forwarded one without does (RFC 9110).
    *failure, behind = told["at once"]
    assert failure == ["PERMISSION_DENIED", "not for you: é"]
    assert after.items() <= behind.items()
    assert told["late"] == ["RESOURCE_EXHAUSTED", "no more", after]
    assert {method for method, _ in echo.called} == {"Once", "Many", "Both"}
    assert all(got["authorization"] == f"Bearer {TOKEN}" for _, got in echo.called)
    assert echo.called[0][1]["x-mine"] == "1"

    def paths() -> set[tuple[str | None, int | None]]:
        events = sandbox.egress.events(kind="request", host=GRPC)
        return {(each.path, each.status) for each in events if each.secrets == [NAME]}

    expected = {(f"/test.Echo/{each}", 200) for each in ("Once", "Many", "Both")}
    until(lambda: paths() == expected, "every call is told")


def test_websocket_both_ways(sandbox: Sandbox) -> None:
    told = _run(sandbox, "websocket_talk.py", f"wss://{CHAT}/room?a=b")
    assert told == {
        "welcome": "welcome",
        "text": "grüße",
        "same": True,
        "pong": True,
        "pushed": ["push 0", "push 1", "push 2"],
        "closed": [4321, "bye"],
    }

    def told_of() -> list[Any]:
        return [*sandbox.egress.events(kind="request", host=CHAT)]

    (event,) = until(told_of, "the upgrade is told")
    assert (event.status, event.rule, event.secrets) == (101, "chat", [NAME])
    assert event.path == "/room"
