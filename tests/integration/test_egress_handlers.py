"""The operator's Python between sandboxes and the world, on a node of its own: real clients inside,
a real server outside, the real process in between, and all that can go wrong with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from server_fixture import StartNode

from wardian import Handler, InvalidRequest, Process

from .handled import BUDGET, DOMAIN, EXAMPLES, PROGRAMS, TOKEN, Handled, handling
from .handled_upstream import EVENTS, WORDS
from .host import begin_peak, peak_bytes
from .waiting import until

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "handlers.md"
CLIENTS = {
    # HTTP/1.1, and HTTP/2.
    "python": ["python3", "-c", (PROGRAMS / "llm_client.py").read_text()],
    "curl": ["curl", "-sSN", "-d", "{}"],
}


@pytest.fixture(scope="module")
def handled(start_node: StartNode) -> Iterator[Handled]:
    with handling(start_node) as started:
        yield started


@pytest.mark.parametrize("client", CLIENTS)
def test_a_stream_passes_event_by_event_and_is_counted(handled: Handled, client: str) -> None:
    """The server sends an event only once the client inside has said that it has the last one:
    whoever held one back would hold up all of them."""
    process = handled.sandbox.spawn(
        [*CLIENTS[client], handled.url("llm", "/v1/chat/completions")], timeout=60
    )
    events: list[str] = []
    handled.upstream.go_on()
    for line in _lines(process):
        if line.startswith("data:"):
            events.append(line)
            # The server notes what it has sent a moment after it has.
            assert handled.arrived("llm")[-1].sent in (len(events) - 1, len(events))
            if len(events) < EVENTS:
                handled.upstream.go_on()
    assert process.wait().exit_code == 0
    said = "".join(json.loads(each[5:])["choices"][0]["delta"]["content"]
                   for each in events[: len(WORDS)])  # fmt: skip
    assert said == "".join(WORDS) and len(events) == EVENTS
    assert handled.arrived("llm")[-1].headers["x-team"] == "first"


def test_the_budget_is_kept_outside_and_ends(handled: Handled) -> None:
    # Two streams are what it pays for; the tests above may have made them.
    while len(handled.arrived("llm")) < 2:
        for _ in range(EVENTS):
            handled.upstream.go_on()
        assert handled.ask("llm", "/v1/chat/completions", "-d", "{}").status == 200
    state = handled.node.home / "handlers"
    assert oct(state.stat().st_mode & 0o777) == "0o700" and (state / "tokens.db").exists()
    refused = handled.ask("llm", "/v1/chat/completions", "-d", "{}")
    assert refused.status == 429 and f"its {BUDGET} tokens" in refused.error["message"]
    assert len(handled.arrived("llm")) == 2
    # Loaded anew, it still knows.
    again = EXAMPLES.joinpath("llm.py").read_text().replace("this sandbox has used", "used up:")
    handled.directory.joinpath("llm.py").write_text(again)
    told = until(lambda: "used up:" in handled.ask("llm", "/v1/x", "-d", "{}").body, "the new file")
    assert told


def _lines(process: Process) -> Iterator[str]:
    rest = ""
    for chunk in process:
        *whole, rest = (rest + chunk.text).split("\n")
        yield from (line for line in whole if line)


def test_a_handler_answers_by_itself(handled: Handled) -> None:
    answer = handled.ask("own", "/v1/y?a=b")
    assert (answer.status, answer.headers["x-own"]) == (201, "yes")
    assert json.loads(answer.body)["asked"] == handled.url("own", "/v1/y?a=b")
    event = handled.told("own")
    assert (event.verdict, event.handler, event.status) == ("allowed", "own", 201)
    assert event.address is None and handled.arrived("own") == []


@pytest.mark.parametrize(("handler", "status"), [("refuses", 451), ("refuses-answer", 403)])
def test_a_refusal_is_told_and_recorded_as_one(handled: Handled, handler: str, status: int) -> None:
    answer = handled.ask(handler)
    assert answer.status == status and answer.headers["wardian-egress"] == "denied"
    assert answer.error["code"] == "egress_denied"
    event = handled.told(handler)
    assert (event.verdict, event.reason, event.status) == ("denied", "handler", status)
    assert len(handled.arrived(handler)) == (handler == "refuses-answer")


def test_credentials_are_put_in_behind_the_handler(handled: Handled) -> None:
    answer = handled.ask("adds", "/v1/x", "-H", "Authorization: the sandbox's own")
    seen = json.loads(answer.body)["headers"]
    assert seen["x-seen"] == "the sandbox's own"
    assert seen["authorization"] == f"Bearer {TOKEN}"
    assert handled.told("adds").secrets == ["HANDLED_TOKEN"]


def test_a_handler_knows_who_asks_also_once_that_has_changed(handled: Handled) -> None:
    def told() -> dict[str, Any]:
        return json.loads(handled.ask("facts").body)

    first = told()
    assert (first["id"], first["name"]) == (handled.sandbox.id, None)
    assert first["labels"] == {"team": "first"} and first["authorization"] is None
    assert first["parameters"] == {"limits": {"rows": [1, 2]}, "word": "é"}
    handled.sandbox.update(labels={"team": "second", "more": "ü"})
    assert told()["labels"] == {"team": "second", "more": "ü"}
    handled.sandbox.update(name="a-name")
    assert told() == {**first, "name": "a-name", "labels": {"team": "second", "more": "ü"}}


def test_a_websocket_begins_behind_a_handler(handled: Handled) -> None:
    program = ["python3", "-c", (PROGRAMS / "upgrade.py").read_text()]
    done = handled.sandbox.run([*program, f"adds.{DOMAIN}"], check=True)
    assert done.stdout == "101 to and fro\n"
    assert handled.arrived("adds")[-1].headers["x-seen"] == "nothing"
    refused = handled.sandbox.run([*program, f"refuses.{DOMAIN}"], check=True)
    assert refused.stdout.startswith("451 ")


def test_what_a_handler_sends_on_must_be_what_its_rule_allows(handled: Handled) -> None:
    answer = handled.ask("moves")
    assert answer.status == 502 and "not what its rule allows" in answer.error["message"]
    assert handled.arrived("moves") == []


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        ("sleeps", "the handler said nothing in time"),
        ("sleeps-over-answer", "the handler said nothing in time"),
        ("raises", "the handler failed"),
        ("nobody", "there is no handler of this name"),
        ("dies", "the handlers' process is not there"),
    ],
)
def test_where_a_handler_fails_nothing_is_let_through(
    handled: Handled, handler: str, says: str
) -> None:
    answer = handled.ask(handler)
    assert answer.status == 502 and answer.headers["wardian-egress"] == "failed"
    assert answer.error["code"] == "egress_failed" and says in answer.error["message"]
    assert "the-operators-own-words" not in answer.body
    event = handled.told(handler)
    assert (event.verdict, event.reason, event.status) == ("failed", "handler", 502)
    assert event.handler == handler
    assert len(handled.arrived(handler)) == (handler == "sleeps-over-answer")
    # The next request is served, by another process if need be.
    assert handled.ask("own").status == 201


def test_what_an_exception_says_is_for_the_operator(handled: Handled) -> None:
    assert handled.ask("raises").status == 502
    assert b"the-operators-own-words" in handled.node.log()


def test_one_that_blocks_all_others_is_given_up_by_the_edge(handled: Handled) -> None:
    rule = {"handler": Handler("blocks", timeout=0.2), "connect_to": handled.upstream.address}
    handled.sandbox.egress.allow(f"blocks.{DOMAIN}", name="blocks", position="first", **rule)
    answer = handled.ask("blocks")
    assert answer.status == 502 and "said nothing in time" in answer.error["message"]
    assert handled.arrived("blocks") == [] and handled.ask("own").status == 201


def test_half_an_answer_is_never_taken_for_a_whole_one(handled: Handled) -> None:
    for version in ("--http1.1", "--http2"):
        answer = handled.ask("breaks-off", "/v1/x", version)
        # How far it came is a matter of luck; that it is not all, everybody sees.
        assert answer.exit_code != 0 and answer.body in ("", "the first half")
        event = handled.told("breaks-off")
        assert (event.verdict, event.reason) == ("failed", "handler")


def test_another_process_takes_over_where_one_has_died(handled: Handled) -> None:
    before = json.loads(handled.ask("own").body)["pid"]
    assert handled.ask("dies").status == 502
    assert json.loads(handled.ask("own").body)["pid"] != before


def test_a_handler_may_answer_where_no_server_does(handled: Handled) -> None:
    rule = {"handler": "falls-back", "connect_to": "127.0.0.1:1"}
    handled.sandbox.egress.allow(
        f"falls-back.{DOMAIN}", name="falls-back", position="first", **rule
    )
    answer = handled.ask("falls-back")
    assert (answer.status, answer.body) == (200, "kept from before")


CHANGES = """
from wardian.handlers import Response, handler

@handler("changes")
async def changes(request, sandbox):
    return Response(body="{text}")
"""


def test_a_changed_file_is_loaded_and_a_broken_one_leaves_what_was(handled: Handled) -> None:
    file = handled.directory / "changes.py"
    for text in ("one", "two"):
        file.write_text(CHANGES.format(text=text))
        until(lambda text=text: handled.ask("changes").body == text, f"the file that says {text}")
    loads = handled.node.log().count(b"handlers loaded")
    file.write_text("this is no Python")
    until(lambda: handled.node.log().count(b"handlers loaded") > loads, "another load")
    assert b"a file of handlers can't be loaded" in handled.node.log()
    assert handled.ask("changes").body == "two" and handled.ask("own").status == 201
    file.unlink()
    gone = until(lambda: (a := handled.ask("changes")).status == 502 and a, "the handler to go")
    assert "there is no handler of this name" in gone.error["message"]


def test_a_large_body_passes_a_handler_that_counts_it_and_nobody_holds_it(
    handled: Handled,
) -> None:
    size = 128 * 1024 * 1024
    pids = (handled.node.edge_pid(), handled.node.handlers_pid())
    before = [begin_peak(pid) for pid in pids]
    command = f"head -c {size} /dev/zero | curl -sS -i -H Expect: -T - {handled.url('counts')}"
    done = handled.sandbox.run(command, timeout=110, check=True).stdout
    head, _, body = done.partition("\r\n\r\n")
    digest = sha256()
    for _ in range(128):
        digest.update(bytes(1024 * 1024))
    assert json.loads(body) == {"length": size, "sha256": digest.hexdigest()}
    assert f"x-counted: {size}" in head
    for pid, was in zip(pids, before, strict=True):
        assert peak_bytes(pid) - was < 32 * 1024 * 1024
    assert handled.told("counts").sent == size


def test_what_is_too_large_to_be_held_is_refused(handled: Handled) -> None:
    small = handled.ask("holds", "/v1/x", "-X", "PUT", "-d", "abc")
    assert json.loads(small.body)["sha256"] == sha256(b"ABC").hexdigest()
    handled.sandbox.run("head -c 17M /dev/zero > /tmp/large", check=True)
    before = len(handled.arrived("holds"))
    answer = handled.ask("holds", "/v1/x", "-H", "Expect:", "-T", "/tmp/large")
    assert answer.status == 413 and "more than 16777216 bytes" in answer.error["message"]
    assert len(handled.arrived("holds")) == before
    until(lambda: handled.told("holds").verdict == "denied", "its event")


async def test_what_the_guide_says(handled: Handled, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [part.partition("```")[0] for part in GUIDE.read_text().split("```python\n")[1:]]
    (rule,) = [block for block in blocks if "Sandbox.create(" in block]
    monkeypatch.setenv("WARDIAN_URL", handled.node.url)
    monkeypatch.setenv("WARDIAN_API_KEY", handled.node.api_key)
    with redirect_stdout(StringIO()) as shown:
        exec(rule, {})
    assert shown.getvalue() == "team\n"
    code = "\n".join(block for block in blocks if block is not rule)
    names: dict[str, Any] = {}
    exec(code, names)
    await names["test_the_team_is_told"]()
    (handled.directory / "guide.py").write_text(code)
    handled.sandbox.update(labels={"team": "search"})
    told = until(lambda: json.loads(handled.ask("team").body)["headers"], "the guide's handlers")
    assert told["x-team"] == "search"
    assert handled.ask("mirror", "/robots.txt").body == "User-agent: *\n"
    assert handled.ask("mirror", "/v1/x", "-d", "").status == 405
    assert handled.ask("measured").status == 200
    until(lambda: b"an answer of " in handled.node.log(), "what it logs")


def test_a_rule_can_only_name_what_could_be_there(handled: Handled) -> None:
    with pytest.raises(InvalidRequest):
        handled.sandbox.egress.allow(f"x.{DOMAIN}", handler="No Handler")


def test_handlers_run_as_a_user_of_their_own(handled: Handled) -> None:
    status = Path(f"/proc/{handled.node.handlers_pid()}/status").read_text()
    uid = next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
    node = handled.node.configuration
    assert int(uid) not in (0, node.control_uid, node.edge_uid, os.getuid())
