"""What the control plane tells the edge of a call to a sandbox's service: leave, or why not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from node_peers.node import Node, create

from wardian.server.keys.tickets import Ticket, TicketOffice
from wardian.server.sandboxes.records import State

from .test_api_node import key_with

NO_KEY = {"Authorization": ""}


async def ask(
    node: Node,
    sandbox: str,
    service: str = "terminals",
    path: str = "main",
    *,
    method: str = "GET",
    upgrade: str = "no",
    ticket: str | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Asks as the edge does."""
    said = {
        "Wardian-Sandbox": sandbox,
        "Wardian-Service": service,
        "Wardian-Path": path,
        "Wardian-Method": method,
        "Wardian-Upgrade": upgrade,
    }
    if ticket is not None:
        said["Wardian-Ticket"] = ticket
        node.client.headers.pop("Authorization", None)
    return await node.client.get("/internal/authorise", headers=said | (headers or {}))


async def made_ticket(node: Node, sandbox: str, **body: Any) -> str:
    response = await node.client.post(f"/v1/sandboxes/{sandbox}/tickets", json=body)
    assert response.status_code == 201, response.text
    return response.json()["ticket"]


async def test_a_key_opens_what_its_scope_allows(node: Node) -> None:
    made = await create(node, name="mine")
    grant = {"sandbox": made["id"], "token": made["agent"]["token"]}
    for reference in (made["id"], "mine", "%6dine"):
        assert (await ask(node, reference)).json() == grant
    reader, writer = await key_with(node, "read"), await key_with(node, "sandboxes")
    stranger = await key_with(node, "templates")
    assert (await ask(node, "mine", headers=reader)).status_code == 200
    assert (await ask(node, "mine", method="HEAD", headers=reader)).status_code == 200
    for method, upgrade in (("POST", "no"), ("DELETE", "no"), ("OPTIONS", "no"), ("GET", "yes")):
        asked = {"method": method, "upgrade": upgrade}
        refused = await ask(node, "mine", headers=reader, **asked)
        assert refused.status_code == 403, asked
        assert (await ask(node, "mine", headers=writer, **asked)).json() == grant
    assert (await ask(node, "mine", headers=stranger)).status_code == 403
    assert (await ask(node, "mine", headers={"Authorization": ""})).status_code == 401
    assert (await ask(node, "yours")).json()["error"]["code"] == "sandbox_not_found"


async def test_what_does_not_run_is_said_to(node: Node) -> None:
    made = await create(node)
    await node.services.lifecycle.note_state(made["id"], State.PAUSED)
    paused = await ask(node, made["id"])
    assert (paused.status_code, paused.json()["error"]["code"]) == (409, "sandbox_paused")
    await node.client.delete(f"/v1/sandboxes/{made['id']}")
    ended = await ask(node, made["id"])
    assert (ended.status_code, ended.json()["error"]["code"]) == (409, "sandbox_ended")
    assert "token" not in ended.text
    late = await node.client.post(f"/v1/sandboxes/{made['id']}/tickets", json={"service": "run"})
    assert late.json()["error"]["code"] == "sandbox_ended"


async def test_a_ticket_is_good_for_what_it_says(node: Node) -> None:
    made, other = await create(node, name="mine"), await create(node, name="other")
    ticket = await made_ticket(node, "mine", service="terminals", path="main")
    grant = {"sandbox": made["id"], "token": made["agent"]["token"]}
    for reference in (made["id"], "mine"):
        for method, upgrade in (("GET", "yes"), ("DELETE", "no")):
            answer = await ask(node, reference, method=method, upgrade=upgrade, ticket=ticket)
            assert answer.json() == grant
    assert (await ask(node, "mine", path="main/below", ticket=ticket)).status_code == 200
    for reference, service, path in (
        ("mine", "files", "main"),
        ("mine", "terminals", ""),
        ("mine", "terminals", "mainly"),
        ("mine", "terminals", "other"),
        ("mine", "terminals", "%6dain"),
        ("mine", "terminals", "x/main"),
        (other["id"], "terminals", "main"),
        ("other", "terminals", "main"),
        ("nobody", "terminals", "main"),
    ):
        refused = await ask(node, reference, service, path, ticket=ticket)
        assert refused.status_code == 403, (reference, service, path)
        assert refused.json()["error"]["code"] == "forbidden"


async def test_a_ticket_that_was_not_made_here_or_was_changed(node: Node) -> None:
    made = await create(node)
    ticket = await made_ticket(node, made["id"], service="run")
    elsewhere = TicketOffice(b"x" * 32, node.services.keyring).issue(
        Ticket("default", "key_1", made["id"], "run", "", 2**52)
    )
    changed = ticket[:-4] + ("AAAA" if ticket[-4:] != "AAAA" else "BBBB")
    for wrong in ("", "x", "*", "a" * 2000, ticket[:-1], changed, elsewhere, ticket + "AAAA"):
        refused = await ask(node, made["id"], "run", "", ticket=wrong)
        assert refused.status_code == 401, wrong
        assert refused.json()["error"]["code"] == "ticket_invalid"


async def test_a_ticket_ends_with_its_time_its_key_and_its_sandbox(node: Node) -> None:
    made = await create(node)
    where = made["id"]
    key = (await node.client.post("/v1/keys", json={"name": "lent"})).json()
    first = node.client.headers["Authorization"]
    node.client.headers["Authorization"] = f"Bearer {key['key']}"
    ticket = await made_ticket(node, where, service="run")
    over = node.services.tickets.issue(Ticket("default", key["id"], where, "run", "", 1))
    assert (await ask(node, where, "run", "", ticket=ticket)).status_code == 200
    expired = await ask(node, where, "run", "", ticket=over)
    assert "expired" in expired.json()["error"]["message"]
    node.client.headers["Authorization"] = first
    assert (await node.client.delete(f"/v1/keys/{key['id']}")).status_code == 204
    orphan = await ask(node, where, "run", "", ticket=ticket)
    assert (orphan.status_code, orphan.json()["error"]["code"]) == (401, "ticket_invalid")
    node.client.headers["Authorization"] = first
    ticket = await made_ticket(node, where, service="run")
    await node.client.delete(f"/v1/sandboxes/{where}")
    ended = await ask(node, where, "run", "", ticket=ticket)
    assert ended.json()["error"]["code"] == "sandbox_ended"


async def test_a_ticket_comes_with_the_address_it_was_asked_at(node: Node) -> None:
    made = await create(node, name="mine")
    seen = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "node.example:8443"}
    body = {"service": "terminals", "path": "main", "expires_in": 60}
    response = await node.client.post("/v1/sandboxes/mine/tickets", json=body, headers=seen)
    ticket = response.json()
    assert ticket["url"] == (
        f"https://node.example:8443/v1/sandboxes/{made['id']}/terminals/main"
        f"?ticket={ticket['ticket']}"
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"service": "envs"},
        {"service": "run", "expires_in": 59},
        {"service": "run", "expires_in": 604801},
        {"service": "files", "path": "/content"},
        {"service": "files", "path": "content/"},
        {"service": "files", "path": "a//b"},
        {"service": "files", "path": "../x"},
        {"service": "files", "path": "a/.."},
        {"service": "files", "path": "a%2fb"},
        {"service": "files", "path": "a\n"},
        {"service": "run", "user": "root"},
    ],
)
async def test_a_ticket_for_something_odd_is_not_made(node: Node, body: dict[str, Any]) -> None:
    await create(node, name="mine")
    response = await node.client.post("/v1/sandboxes/mine/tickets", json=body)
    assert response.status_code == 400, response.text
    reader = await key_with(node, "read")
    body = {"service": "run"}
    refused = await node.client.post("/v1/sandboxes/mine/tickets", json=body, headers=reader)
    assert refused.status_code == 403
