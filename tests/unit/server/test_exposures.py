"""Exposures over the API: what is kept, what the edge is told, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from node_peers.node import Node, create, rows

from wardian.server.errors import TokenTaken
from wardian.server.exposures import passes
from wardian.server.exposures.model import Exposure, ExposureSecrets
from wardian.server.node import edge_messages
from wardian.server.sandboxes.records import State
from wardian.server.store.database import Database
from wardian.server.store.exposures import ExposureStore
from wardian.server.store.sandboxes import SandboxStore
from wardian.server.store.sealing import Sealer

from .test_api_node import key_with
from .test_store import record

TICKET = Path(__file__).parents[2] / "vectors" / "preview_ticket.txt"


async def expose(node: Node, sandbox: str, port: int, **body: Any) -> httpx.Response:
    return await node.client.post(f"/v1/sandboxes/{sandbox}/exposures", json={"port": port} | body)


def told(node: Node, sandbox: str) -> list[edge_messages.Exposure]:
    return node.edge.routes[sandbox].exposures


async def test_a_port_gets_an_address_and_keeps_it(node: Node) -> None:
    made = await create(node, name="mine")
    first = await expose(node, "mine", 8000, name="web")
    assert first.status_code == 201, first.text
    shown = first.json()
    token = shown["token"]
    assert len(token) == 16 and token.isalnum() and token == token.lower()
    assert shown["url"] == f"http://8000-{made['id']}-{token}.localhost"
    assert (shown["visibility"], shown["host_header"]) == ("private", "preserve")
    (rule,) = told(node, made["id"])
    assert (rule.port, rule.token, rule.visibility) == (8000, token, "private")
    assert len(rule.secret) == 64 and rule.secret not in first.text
    again = await expose(node, made["id"], 8000, visibility="public", host_header="localhost")
    assert again.status_code == 200
    assert again.json() == shown | {
        "name": None,
        "visibility": "public",
        "host_header": "localhost",
    }
    changed = await expose(node, "mine", 8000, token="chosen01")
    assert (changed.status_code, changed.json()["token"]) == (200, "chosen01")
    (new_rule,) = told(node, made["id"])
    assert new_rule.token == "chosen01" and new_rule.secret != rule.secret
    listed = (await node.client.get("/v1/sandboxes/mine/exposures")).json()["exposures"]
    assert listed == [changed.json()]
    for _ in range(2):
        gone = await node.client.delete("/v1/sandboxes/mine/exposures/8000")
        assert gone.status_code == 204
    assert told(node, made["id"]) == []


async def test_the_address_is_at_the_port_it_was_asked_at(node: Node) -> None:
    await create(node, name="mine")
    for seen, host, suffix in (
        ("https", "preview.example:8443", ":8443"),
        ("https", "preview.example", ""),
        ("http", "[::1]:7300", ":7300"),
        ("http", "[::1]", ""),
    ):
        headers = {"X-Forwarded-Proto": seen, "X-Forwarded-Host": host}
        made = await node.client.post(
            "/v1/sandboxes/mine/exposures", json={"port": 80}, headers=headers
        )
        assert made.json()["url"].startswith(f"{seen}://80-")
        assert made.json()["url"].endswith(f".localhost{suffix}")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"port": 0}, 400, "invalid_request"),
        ({"port": 65536}, 400, "invalid_request"),
        ({"port": 49983}, 400, "invalid_request"),
        ({"port": "80"}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
        ({"port": 80, "token": "short"}, 400, "invalid_request"),
        ({"port": 80, "token": "a" * 33}, 400, "invalid_request"),
        ({"port": 80, "token": "with-dash"}, 400, "invalid_request"),
        ({"port": 80, "token": "UPPERCASE"}, 400, "invalid_request"),
        ({"port": 80, "visibility": "secret"}, 400, "invalid_request"),
        ({"port": 80, "host_header": "x"}, 400, "invalid_request"),
        ({"port": 80, "name": "a\nb"}, 400, "invalid_request"),
        ({"port": 80, "public": True}, 400, "invalid_request"),
        ({"port": 80, "token": "takentoken"}, 409, "token_taken"),
    ],
)
async def test_what_can_not_be_is_refused(
    node: Node, body: dict[str, Any], status: int, code: str
) -> None:
    made = await create(node)
    await expose(node, made["id"], 1, token="takentoken")
    before = told(node, made["id"])
    response = await node.client.post(f"/v1/sandboxes/{made['id']}/exposures", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert told(node, made["id"]) == before
    for port in ("x", "-1", "80x", "9" * 20):
        odd = await node.client.delete(f"/v1/sandboxes/{made['id']}/exposures/{port}")
        assert odd.status_code == 400


async def test_there_may_be_so_many_and_no_more(node: Node) -> None:
    made = await create(node)
    for port in range(1, 65):
        assert (await expose(node, made["id"], port)).status_code == 201
    full = await expose(node, made["id"], 65)
    assert (full.status_code, full.json()["error"]["code"]) == (409, "too_many_exposures")
    assert (await expose(node, made["id"], 64, visibility="public")).status_code == 200
    assert len({rule.token for rule in told(node, made["id"])}) == 64


async def test_it_stays_through_a_pause_and_not_the_end(
    node: Node,
) -> None:
    made = await create(node)
    token = (await expose(node, made["id"], 80)).json()["token"]
    rules = told(node, made["id"])
    await node.services.lifecycle.note_state(made["id"], State.PAUSED)
    assert told(node, made["id"]) == rules
    assert node.edge.routes[made["id"]].state == "paused"
    asked = {"Wardian-Sandbox": made["id"], "Wardian-Port": "80", "Wardian-Token": token}
    assert (await node.client.get("/internal/address", headers=asked)).status_code == 404
    await node.client.delete(f"/v1/sandboxes/{made['id']}")
    assert made["id"] not in node.edge.routes
    assert (await node.client.get("/internal/address", headers=asked)).status_code == 204
    for change in ({"Wardian-Port": "81"}, {"Wardian-Token": "x"}, {"Wardian-Sandbox": "b" * 20}):
        other = await node.client.get("/internal/address", headers=asked | change)
        assert other.status_code == 404
    late = await expose(node, made["id"], 80)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "sandbox_ended")
    gone = await node.client.delete(f"/v1/sandboxes/{made['id']}/exposures/80")
    assert gone.status_code == 204
    assert (await node.client.get("/internal/address", headers=asked)).status_code == 204


async def test_tokens_are_not_readable_in_the_database(node: Node) -> None:
    made = await create(node)
    shown = (await expose(node, made["id"], 80)).json()
    (rule,) = told(node, made["id"])
    text = repr(rows(node.configuration, "select * from exposures"))
    assert made["id"] in text
    assert shown["token"] not in text and rule.secret not in text


async def test_a_key_that_may_only_read_sees_no_address(node: Node) -> None:
    made = await create(node)
    where = f"/v1/sandboxes/{made['id']}/exposures"
    token = (await expose(node, made["id"], 80)).json()["token"]
    reader = await key_with(node, "read")
    seen = await node.client.get(where, headers=reader)
    assert seen.status_code == 200 and token not in seen.text
    assert (await node.client.post(where, json={"port": 81}, headers=reader)).status_code == 403
    assert (await node.client.delete(f"{where}/80", headers=reader)).status_code == 403
    assert (await node.client.post(f"{where}/80/tickets", headers=reader)).status_code == 403
    asked = {"Wardian-Sandbox": made["id"]}
    writer = await key_with(node, "sandboxes")
    for headers, status in (
        (writer, 204),
        (reader, 403),
        ({"Authorization": ""}, 401),
    ):
        visit = await node.client.get("/internal/visit", headers=asked | headers)
        assert visit.status_code == status


async def test_a_signed_address_is_for_its_exposure(node: Node) -> None:
    made = await create(node)
    shown = (await expose(node, made["id"], 80)).json()
    where = f"/v1/sandboxes/{made['id']}/exposures"
    signed = await node.client.post(f"{where}/80/tickets", json={"expires_in": 60})
    assert signed.status_code == 201
    url, _, ticket = signed.json()["url"].partition("/?wardian_ticket=")
    assert url == shown["url"]
    (rule,) = told(node, made["id"])
    expires = int(ticket.partition(".")[0])
    assert ticket == passes.ticket(rule.secret, made["id"], 80, expires)
    other = await node.client.post(f"{where}/81/tickets")
    assert (other.status_code, other.json()["error"]["code"]) == (404, "exposure_not_found")
    for seconds in (59, 604801):
        odd = await node.client.post(f"{where}/80/tickets", json={"expires_in": seconds})
        assert odd.status_code == 400


def test_the_edge_reads_our_tickets() -> None:
    made = passes.ticket("0123456789abcdef", "abcdefghij234567klmn", 5173, 1_800_000_000)
    assert made == TICKET.read_text().strip()


async def test_the_store_keeps_them(database: Database, sandboxes: SandboxStore) -> None:
    store = ExposureStore(database, Sealer(b"k" * 32))
    one, ended = record(), record()
    await sandboxes.insert(one)
    await sandboxes.insert(ended)

    def exposed(sandbox: str, port: int) -> Exposure:
        secrets = ExposureSecrets(f"token{port}", "s")
        return Exposure(sandbox, port, "n", "public", "preserve", secrets, 5)

    for sandbox in (one.id, ended.id):
        for port in (65535, 1):
            await store.put(sandbox, lambda _, s=sandbox, p=port: exposed(s, p))
    await sandboxes.set_ended(ended.id, "killed", 5, None, never_ran=False)
    both = [exposed(one.id, 1), exposed(one.id, 65535)]
    assert await store.of(one.id) == await store.of_live() == both
    assert len(await store.of(ended.id)) == 2

    def refuse(there: list[Exposure]) -> Exposure:
        assert there == both
        raise TokenTaken(1)

    with pytest.raises(TokenTaken):
        await store.put(one.id, refuse)
    assert await store.delete(one.id, 1) == await store.delete(one.id, 1) == both[1:]
