"""The native API on sandboxes, from request to launcher and edge."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from node_peers.node import Node, create, eventually, rows

from wardian.server.node import edge_messages, protocol
from wardian.server.node.protocol import Failure


async def test_create_makes_what_was_asked_for(node: Node) -> None:
    made = await create(
        node,
        name="mine",
        env={"A": "b"},
        labels={"team": "x"},
        user="root",
        workdir="/workspace",
        limits={"cpu": 0.5, "memory_mb": 64, "disk_mb": 10, "pids": 20},
        traffic="private",
        timeout=60,
    )
    assert re.fullmatch("[a-z2-7]{20}", made["id"])
    assert made["state"] == "running" and made["reason"] is None
    assert (made["name"], made["template"], made["class"]) == ("mine", "base", "container")
    assert made["limits"] == {"cpu": 0.5, "memory_mb": 64, "disk_mb": 10, "pids": 20}
    assert made["agent"]["port"] == 49983
    assert made["traffic"] == "private" and made["domain"] == "localhost"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made["expires_at"])
    (asked,) = node.launcher.asked(protocol.Create)
    assert isinstance(asked, protocol.Create)
    assert asked.sandbox == made["id"] and asked.layers == ["a" * 64]
    assert asked.limits == protocol.Limits(64 << 20, 20, 500, 10 << 20, None)
    assert asked.boot.access_token == made["agent"]["token"]
    assert asked.boot.env == {"LANG": "C.UTF-8", "A": "b"}
    assert asked.boot.hostname == "mine"
    assert (asked.boot.default_user, asked.boot.default_workdir) == ("root", "/workspace")
    facts = edge_messages.Facts("mine", "default", {"team": "x"})
    route = edge_messages.Route(made["id"], "running", made["traffic_token"], [], facts=facts)
    assert node.edge.routes == {made["id"]: route}
    for reference in (made["id"], "mine"):
        assert (await node.client.get(f"/v1/sandboxes/{reference}")).json() == made


async def test_defaults_are_those_of_the_contract(node: Node) -> None:
    response = await node.client.post("/v1/sandboxes")
    made = response.json()
    assert response.status_code == 201
    assert made["user"] == "user" and made["workdir"] is None and made["labels"] == {}
    assert made["limits"] == {"cpu": 2.0, "memory_mb": 2048, "disk_mb": 10240, "pids": 1024}
    assert made["traffic"] == "public" and made["traffic_token"] is None
    forever = await create(node, timeout=None)
    assert forever["expires_at"] is None


async def test_secrets_are_not_readable_in_the_database(node: Node) -> None:
    made = await create(node, env={"PASSWORD": "hunter2-hunter2"}, traffic="private")
    await node.client.get("/v1/sandboxes")
    files = [path for path in node.configuration.control_home.glob("wardian.db*")]
    content = b"".join(path.read_bytes() for path in files)
    assert made["id"].encode() in content
    for secret in ("hunter2-hunter2", made["agent"]["token"], made["traffic_token"]):
        assert secret.encode() not in content
    key_file = node.configuration.control_home / "secret.key"
    assert key_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"tempalte": "base"}, "tempalte"),
        ({"timeout": 0}, "$.timeout"),
        ({"timeout": 604801}, "$.timeout"),
        ({"timeout": "60"}, "$.timeout"),
        ({"timeout": True}, "$.timeout"),
        ({"name": "Mine"}, "$.name"),
        ({"name": "mine\n"}, "$.name"),
        ({"name": "-mine"}, "$.name"),
        ({"name": "a" * 64}, "$.name"),
        ({"name": "a" * 20}, "form of a sandbox id"),
        ({"labels": {"a b": "c"}}, "$.labels"),
        ({"labels": {"a": "ä" * 128}}, "'a' is longer than 255 bytes"),
        ({"labels": {str(n): "" for n in range(65)}}, "$.labels"),
        ({"env": {"A=B": "c"}}, "$.env"),
        ({"env": {"A": "\0"}}, "NUL"),
        ({"env": {"A": "x" * 300_000}}, "env:"),
        ({"limits": {"memory_mb": 15}}, "$.limits.memory_mb"),
        ({"limits": {"cpu": "2"}}, "$.limits.cpu"),
        ({"limits": {"ram": 2}}, "ram"),
        ({"workdir": "home"}, "$.workdir"),
        ({"user": "a b"}, "$.user"),
        ({"traffic": "secret"}, "$.traffic"),
        ([], "object"),
    ],
)
async def test_bad_fields_are_named_and_nothing_is_made(node: Node, body: Any, says: str) -> None:
    response = await node.client.post("/v1/sandboxes", json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "invalid_request" and says in error["message"]
    assert node.launcher.asked(protocol.Create) == []
    assert rows(node.configuration, "select * from sandboxes") == []


async def test_bodies_that_are_no_json_or_too_long_are_refused(node: Node) -> None:
    for content in (b"{", b"\xff\xff", b'{"name": "\xff"}'):
        response = await node.client.post("/v1/sandboxes", content=content)
        assert response.status_code == 400, content
    response = await node.client.post("/v1/sandboxes", content=b" " * (1024 * 1024 + 1))
    assert response.status_code == 413 and response.json()["error"]["code"] == "too_large"


async def test_unknown_template_and_class(node: Node) -> None:
    response = await node.client.post("/v1/sandboxes", json={"template": "bas"})
    assert response.status_code == 404
    error = response.json()["error"]
    assert error["code"] == "template_not_found" and "base" in error["hint"]
    response = await node.client.post("/v1/sandboxes", json={"class": "firecracker"})
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "class_unsupported"
    assert "container" in response.json()["error"]["hint"]


async def test_a_name_is_free_again_once_its_sandbox_ended(node: Node) -> None:
    first = await create(node, name="mine")
    response = await node.client.post("/v1/sandboxes", json={"name": "mine"})
    assert response.status_code == 409 and response.json()["error"]["code"] == "name_taken"
    assert list(node.launcher.sandboxes) == [first["id"]]
    await node.client.delete("/v1/sandboxes/mine")
    assert (await node.client.get("/v1/sandboxes/mine")).status_code == 404
    second = await create(node, name="mine")
    assert second["id"] != first["id"]


async def test_kill_ends_it_everywhere_and_is_repeatable(node: Node) -> None:
    made = await create(node)
    ended = await node.client.delete(f"/v1/sandboxes/{made['id']}")
    assert ended.status_code == 200
    assert (ended.json()["state"], ended.json()["reason"]) == ("ended", "killed")
    assert node.launcher.sandboxes == {} and node.edge.routes == {}
    again = await node.client.delete(f"/v1/sandboxes/{made['id']}")
    assert again.status_code == 200 and again.json() == ended.json()
    usage = await node.client.get(f"/v1/sandboxes/{made['id']}/usage")
    assert usage.json()["cpu_seconds"] == 1.5
    patched = await node.client.patch(f"/v1/sandboxes/{made['id']}", json={"labels": {}})
    assert patched.status_code == 409 and patched.json()["error"]["code"] == "sandbox_ended"


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (Failure("no_space", "pool full"), 503, "no_space"),
        (Failure("no_capacity", "no slot"), 503, "no_capacity"),
        (Failure("kernel", "mount: EINVAL"), 500, "internal"),
    ],
)
async def test_a_create_that_fails_leaves_nothing_but_its_record(
    node: Node, failure: Failure, status: int, code: str
) -> None:
    node.launcher.fail("create", failure)
    body, headers = {"name": "mine"}, {"Idempotency-Key": "k"}
    response = await node.client.post("/v1/sandboxes", json=body, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert node.launcher.sandboxes == {} and node.edge.routes == {}
    found = rows(node.configuration, "select state, reason from sandboxes")
    assert found == [("ended", f"failed: {failure.message}")]
    # Name and idempotency key are free, so trying again works.
    retried = await create(node, headers, **body)
    assert retried["state"] == "running"


async def test_a_launcher_that_dies_over_a_create_is_not_noticed(node: Node) -> None:
    node.launcher.fail("create", "hang up after")
    made = await create(node)
    assert list(node.launcher.sandboxes) == [made["id"]]


async def test_the_same_idempotency_key_gives_the_same_sandbox(node: Node) -> None:
    headers = {"Idempotency-Key": "once"}
    node.launcher.create_gate = asyncio.Event()
    calls = [node.client.post("/v1/sandboxes", json={}, headers=headers) for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call) for call in calls]
        await eventually(lambda: node.launcher.asked(protocol.Create))
        node.launcher.create_gate.set()
    answers = [task.result() for task in tasks]
    assert [answer.status_code for answer in answers] == [201] * 5
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(node.launcher.sandboxes) == 1
    # Spelled otherwise, the same request.
    again = await create(node, headers, template="base", labels={})
    assert again["id"] == answers[0].json()["id"]
    other = await node.client.post("/v1/sandboxes", json={"timeout": 9}, headers=headers)
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "idempotency_mismatch"


async def test_a_waiting_repeat_tries_itself_when_the_first_fails(node: Node) -> None:
    headers = {"Idempotency-Key": "once"}
    node.launcher.fail("create", Failure("kernel", "clone3: EAGAIN"))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(node.client.post("/v1/sandboxes", json={}, headers=headers))
            for _ in range(2)
        ]
    assert sorted(task.result().status_code for task in tasks) == [201, 500]
    assert len(node.launcher.sandboxes) == 1


async def test_a_hundred_creates_at_once_all_succeed(node: Node) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(create(node, labels={"n": str(n)})) for n in range(100)]
    ids = {task.result()["id"] for task in tasks}
    assert len(ids) == 100 and ids == set(node.launcher.sandboxes) == set(node.edge.routes)


async def test_update_replaces_labels_and_moves_the_deadline(node: Node) -> None:
    made = await create(node, labels={"a": "1", "b": "2"}, timeout=60)
    url = f"/v1/sandboxes/{made['id']}"
    body = {"labels": {"c": "3"}, "timeout": None, "name": "later"}
    changed = (await node.client.patch(url, json=body)).json()
    assert (changed["labels"], changed["expires_at"]) == ({"c": "3"}, None)
    assert changed["name"] == "later"
    assert (await node.client.get(url)).json() == changed
    # The edge tells handlers, and knows when the call returns.
    facts = node.edge.routes[made["id"]].facts
    assert (facts.name, facts.labels) == ("later", {"c": "3"})
    found = await node.client.get("/v1/sandboxes", params={"label": "a=1"})
    assert found.json()["sandboxes"] == []
    told = len(node.edge.messages)
    unchanged = (await node.client.patch(url, json={})).json()
    assert unchanged == changed and len(node.edge.messages) == told
    await create(node, name="taken")
    response = await node.client.patch(url, json={"name": "taken"})
    assert response.status_code == 409 and response.json()["error"]["code"] == "name_taken"


async def test_list_filters_and_pages(node: Node) -> None:
    ids = [(await create(node, labels={"parity": str(n % 2)}))["id"] for n in range(5)]
    ended = ids.pop(0)
    await node.client.delete(f"/v1/sandboxes/{ended}")

    async def pages(**params: Any) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            response = await node.client.get("/v1/sandboxes", params=params | cursor)
            assert response.status_code == 200, response.text
            page = response.json()
            assert len(page["sandboxes"]) <= params.get("limit", 50)
            found += [sandbox["id"] for sandbox in page["sandboxes"]]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    assert set(await pages()) == set(ids)
    for limit in (1, 2, 3, 4, 5):
        assert await pages(limit=limit) == await pages()
    assert await pages(state="ended") == [ended]
    assert set(await pages(state=["ended", "running"], limit=2)) == {ended, *ids}
    assert set(await pages(label="parity=1")) == {ids[0], ids[2]}
    assert await pages(label=["parity=1", "parity=0"]) == []
    assert await pages(template="other") == [] and await pages(name="x") == []


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "state=dead", "label=x"),
        *("colour=red", "cursor=", "cursor=ä", "cursor=WzEsImEiXQ", "cursor=" + "A" * 200),
        "label=a%3Db%00",
    ],
)
async def test_bad_queries_are_refused(node: Node, query: str) -> None:
    response = await node.client.get(f"/v1/sandboxes?{query}")
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "invalid_request"


async def test_what_is_not_there_is_not_found(node: Node) -> None:
    for reference in ("a" * 20, "nobody", "No body", "%2e%2e", "x" * 300):
        for method in ("GET", "DELETE"):
            response = await node.client.request(method, f"/v1/sandboxes/{reference}")
            assert response.status_code == 404, reference
            assert response.json()["error"]["code"] == "sandbox_not_found"


async def test_a_repeat_finds_its_sandbox_also_when_the_template_is_gone(node: Node) -> None:
    headers = {"Idempotency-Key": "once"}
    made = await create(node, headers)
    await node.client.delete(f"/v1/sandboxes/{made['id']}")
    assert (await node.client.delete("/v1/templates/base")).status_code == 204
    assert (await node.client.post("/v1/sandboxes", json={})).status_code == 404
    assert (await create(node, headers))["id"] == made["id"]


async def test_the_whole_life_on_postgresql(postgres_node: Node) -> None:
    node = postgres_node
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(create(node, name=f"n{number}", labels={"k": "v"}))
            for number in range(30)
        ]
    ids = {task.result()["id"] for task in tasks}
    assert ids == set(node.launcher.sandboxes) == set(node.edge.routes)
    taken = await node.client.post("/v1/sandboxes", json={"name": "n1"})
    assert taken.status_code == 409
    page = await node.client.get("/v1/sandboxes", params={"label": "k=v", "limit": 20})
    following = {"label": "k=v", "cursor": page.json()["next_cursor"]}
    rest = await node.client.get("/v1/sandboxes", params=following)
    seen = page.json()["sandboxes"] + rest.json()["sandboxes"]
    assert len(seen) == 30 and {sandbox["id"] for sandbox in seen} == ids
    headers = {"Idempotency-Key": "once"}
    async with asyncio.TaskGroup() as group:
        same = [group.create_task(create(node, headers)) for _ in range(5)]
    assert len({task.result()["id"] for task in same}) == 1
    for number in range(30):
        ended = await node.client.delete(f"/v1/sandboxes/n{number}")
        assert ended.json()["reason"] == "killed"
    await node.services.reconciler.reconcile()
    assert list(node.launcher.sandboxes) == [same[0].result()["id"]]
    assert not (node.configuration.control_home / "wardian.db").exists()
