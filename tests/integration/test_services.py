"""The services of the agent through the API: with a key or a ticket, which no sandbox sees."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from wardian import Client, Conflict, InvalidRequest, Sandbox

from .conftest import Make
from .waiting import until

Ask = Any


def test_a_call_reaches_the_agent_and_no_other(http: httpx.Client, minimal: Sandbox) -> None:
    answer = http.get(f"/v1/sandboxes/{minimal.id}/run/nowhere?x=1")
    # The agent's words: the control plane's would name the whole path and give a hint.
    assert answer.status_code in (404, 405)
    assert set(answer.json()["error"]) <= {"code", "message", "hint"}
    assert minimal.id not in answer.text and "openapi" not in answer.text
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": ""}, 401, "unauthorized"),
        ({"Authorization": "Bearer e2b_" + "0" * 40}, 401, "unauthorized"),
    ],
)
def test_without_a_key_nothing_is_reached(
    http: httpx.Client, minimal: Sandbox, headers: dict[str, str], status: int, code: str
) -> None:
    for service in ("sessions", "processes", "run", "terminals/x", "files/list", "watch", "git/x"):
        answer = http.post(f"/v1/sandboxes/{minimal.id}/{service}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_key_that_is_deleted_opens_nothing_from_then_on(node: Any, minimal: Sandbox) -> None:
    client = Client()
    lent = client.create_key("lent", ["sandboxes"])
    assert lent.key is not None
    with httpx.Client(base_url=node.url, trust_env=False) as visitor:
        visitor.headers["X-API-Key"] = lent.key
        path = f"/v1/sandboxes/{minimal.id}/run/nowhere"
        ticket = visitor.post(f"/v1/sandboxes/{minimal.id}/tickets", json={"service": "run"})
        del visitor.headers["X-API-Key"]
        by_ticket = {"ticket": ticket.json()["ticket"]}
        by_key = {"X-API-Key": lent.key}
        assert visitor.get(path, headers=by_key).status_code in (404, 405)
        assert visitor.get(path, params=by_ticket).status_code in (404, 405)
        client.delete_key(lent.id)
        assert visitor.get(path, headers=by_key).status_code == 401
        assert visitor.get(path, params=by_ticket).status_code == 401


def test_a_ticket_survives_a_restart_and_ends_with_its_sandbox(node: Any, make: Make) -> None:
    sandbox = make()
    ticket = sandbox.ticket("terminals", "main", expires_in=60)
    assert ticket.url == (
        f"{node.url}/v1/sandboxes/{sandbox.id}/terminals/main?ticket={ticket.ticket}"
    )
    assert ticket.websocket_url.startswith("ws://")
    assert ticket.ticket not in repr(ticket)
    allowed = httpx.delete(ticket.url, trust_env=False)
    assert "error" not in allowed.text or allowed.json()["error"]["code"] != "ticket_invalid"
    elsewhere = ticket.url.replace("terminals/main", "terminals/other")
    assert httpx.delete(elsewhere, trust_env=False).status_code == 403
    sandbox.kill()
    ended = httpx.delete(ticket.url, trust_env=False)
    assert (ended.status_code, ended.json()["error"]["code"]) == (409, "sandbox_ended")
    with pytest.raises(Conflict):
        sandbox.ticket("terminals")


def test_wrong_tickets_are_not_made(minimal: Sandbox) -> None:
    for service, path in (("envs", ""), ("files", "../x"), ("files", "a//b")):
        with pytest.raises(InvalidRequest):
            minimal.ticket(service, path)


def test_no_ticket_and_no_key_is_logged(node: Any, minimal: Sandbox) -> None:
    ticket = minimal.ticket("files").ticket
    for wrong in (ticket, ticket[:-1]):
        httpx.get(
            f"{node.url}/v1/sandboxes/{minimal.id}/files/nowhere?ticket={wrong}", trust_env=False
        )
    until(lambda: minimal.id.encode() in node.log(), "the sandbox in the log")
    assert ticket[:-1].encode() not in node.log()
    assert node.api_key.encode() not in node.log()
