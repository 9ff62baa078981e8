"""What the edge reports: kept in both databases, with bounds, and shown in three ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
import uvicorn
from node_peers.node import Node, configuration_for, create, eventually

from wardian.server import app
from wardian.server.egress.record import Record
from wardian.server.errors import Unavailable
from wardian.server.node.edge_messages import EgressReport
from wardian.server.node.egress_messages import Event, Traffic
from wardian.server.sandboxes.identifiers import new_sandbox_id
from wardian.server.store.database import Database, SqliteDatabase
from wardian.server.store.egress_events import EgressEventStore, EventFilter

from .conftest import KEY, running_node
from .test_api_node import key_with

ALL = EventFilter()


def event(sandbox: str, **fields: Any) -> Event:
    plain = Event(
        sandbox=sandbox,
        time=1_700_000_000_123_456,
        kind="request",
        verdict="allowed",
        rule="api",
        reason=None,
        host="api.example",
        port=443,
        address="1.1.1.1",
        method="GET",
        path="/v1",
        status=200,
        sent=10,
        received=20,
        duration_us=1500,
        secrets=["TOKEN"],
        handler=None,
    )
    return msgspec.structs.replace(plain, **fields)


def report(*events: Event, lost: int = 0, traffic: tuple[Traffic, ...] = ()) -> EgressReport:
    return EgressReport(list(events), lost, list(traffic))


async def test_events_come_back_in_order_and_by_what_they_are(database: Database) -> None:
    store = EgressEventStore(database)
    one, other = new_sandbox_id(), new_sandbox_id()
    events = [event(one, port=port) for port in range(1, 6)]
    await store.append([events[0], event(other), *events[1:]], [])
    await store.append([event(one, verdict="denied", kind="name", host="x.example")], [])
    newest = await store.page(one, ALL, 3, None)
    assert [each.number for each in newest] == [7, 6, 5]
    assert newest[1].event == events[4]
    rest = await store.page(one, ALL, 10, 5)
    assert [each.number for each in rest] == [4, 3, 1]
    assert [each.number for each in await store.after(one, ALL, 2, 3)] == [4, 5]
    for wanted in (
        EventFilter(verdict="denied"),
        EventFilter(kind="name"),
        EventFilter(host="x.example"),
    ):
        assert [each.number for each in await store.page(one, wanted, 9, None)] == [7]
    assert await store.page(one, EventFilter("denied", "request"), 9, None) == []
    # Another process goes on where this one stopped.
    again = EgressEventStore(database)
    await again.append([event(one)], [])
    assert await again.highest() == 8


async def test_the_oldest_make_room(database: Database) -> None:
    store = EgressEventStore(database, most_per_sandbox=5, most_in_all=12)
    first, second, third = (new_sandbox_id() for _ in range(3))

    async def kept(sandbox: str) -> list[int]:
        return [each.number for each in await store.after(sandbox, ALL, 100, 0)]

    await store.append([event(first)] * 4, [])
    await store.append([event(first)] * 3, [])
    assert await kept(first) == [3, 4, 5, 6, 7]
    await store.append([event(second)] * 9, [])
    assert await kept(second) == [12, 13, 14, 15, 16]
    await store.append([event(third)] * 4, [])
    assert await kept(first) == [5, 6, 7]
    assert len(await kept(second)) == 5 and len(await kept(third)) == 4
    await store.append([event(third)] * 2, [])
    assert len(await kept(third)) == 5 and await kept(first) == [6, 7]


async def test_traffic_is_summed(database: Database) -> None:
    store = EgressEventStore(database)
    sandbox, other = new_sandbox_id(), new_sandbox_id()
    await store.append([], [Traffic(sandbox, 1, 2), Traffic(other, 5, 5)])
    await store.append([], [Traffic(sandbox, 2**40, 3)])
    assert await store.traffic(sandbox) == (2**40 + 1, 5)
    assert await store.traffic(new_sandbox_id()) == (0, 0)


async def test_a_database_that_fails_holds_events_back_and_loses_none(tmp_path: Path) -> None:
    class Failing(EgressEventStore):
        failures = 1

        async def append(self, *given: Any) -> None:
            if self.failures:
                self.failures -= 1
                raise Unavailable("not now")
            await super().append(*given)

    database = await SqliteDatabase.open(tmp_path / "wardian.db")
    store = Failing(database)
    record = Record(store)
    sandbox = new_sandbox_id()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(record.run())
        for port in range(1, 601):
            record.take(report(event(sandbox, port=port), traffic=(Traffic(sandbox, 1, 2),)))
        assert await record.traffic(sandbox) == (600, 1200)
        async with asyncio.timeout(20):
            while len(await store.after(sandbox, ALL, 1000, 0)) < 600:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        running.cancel()
    ports = [each.event.port for each in await store.after(sandbox, ALL, 1000, 0)]
    assert ports == list(range(1, 601)) and await store.traffic(sandbox) == (600, 1200)
    await database.close()


async def test_what_came_last_is_kept_when_the_server_stops(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "wardian.db")
    record = Record(EgressEventStore(database))
    sandbox = new_sandbox_id()
    for stop_after in range(4):
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(record.run())
            await asyncio.sleep(0)
            record.take(report(*[event(sandbox)] * 1500))
            for _ in range(stop_after):
                await asyncio.sleep(0)
            running.cancel()
    assert len(await record.store.after(sandbox, ALL, 10_000, 0)) == 6000
    await database.close()


async def test_more_than_can_wait_is_counted(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "wardian.db")
    record = Record(EgressEventStore(database))
    sandbox = new_sandbox_id()
    for _ in range(129):
        record.take(report(*[event(sandbox)] * 512, lost=1))
    assert record.lost == 129 + 512
    await database.close()


async def reported(node: Node, *events: Event, **more: Any) -> None:
    """Has the edge tell of events and waits until they are kept."""
    store = node.services.egress_record.store
    before = await store.highest()
    node.edge.report(report(*events, **more))
    async with asyncio.timeout(20):
        while await store.highest() < before + len(events):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_events_are_shown_in_pages(node: Node) -> None:
    sandbox = (await create(node, name="mine"))["id"]
    elsewhere = (await create(node))["id"]
    await reported(
        node,
        *(event(sandbox, port=port) for port in (1, 2, 3)),
        event(elsewhere),
        event(sandbox, verdict="denied", reason="no_rule", rule=None),
        lost=7,
        traffic=(Traffic(sandbox, 100, 200),),
    )
    path = "/v1/sandboxes/mine/egress/events"
    first = (await node.client.get(path, params={"limit": 3})).json()
    assert [each["id"] for each in first["events"]] == [5, 3, 2]
    assert (first["next_cursor"], first["lost"]) == ("2", 7)
    assert first["events"][0]["reason"] == "no_rule"
    shown = first["events"][1]
    assert (shown["time"], shown["duration_ms"]) == ("2023-11-14T22:13:20.123456Z", 1.5)
    assert shown["secrets"] == ["TOKEN"]
    last = (await node.client.get(path, params={"cursor": "2"})).json()
    assert [each["id"] for each in last["events"]] == [1] and last["next_cursor"] is None
    denied = (await node.client.get(path, params={"verdict": "denied"})).json()
    assert [each["id"] for each in denied["events"]] == [5]
    usage = (await node.client.get("/v1/sandboxes/mine/usage")).json()
    assert (usage["egress_bytes_sent"], usage["egress_bytes_received"]) == (100, 200)
    # They outlive the sandbox.
    await node.client.delete(f"/v1/sandboxes/{sandbox}")
    kept = await node.client.get(f"/v1/sandboxes/{sandbox}/egress/events")
    assert len(kept.json()["events"]) == 4
    usage = (await node.client.get(f"/v1/sandboxes/{sandbox}/usage")).json()
    assert usage["egress_bytes_sent"] == 100
    lines = await node.client.get(
        f"/v1/sandboxes/{sandbox}/egress/events", headers={"Accept": "application/x-ndjson"}
    )
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["id"] for line in lines.text.splitlines()] == [1, 2, 3, 5]


async def test_an_export_is_longer_than_a_page(node: Node) -> None:
    sandbox = (await create(node))["id"]
    await reported(node, *[event(sandbox)] * 512)
    await reported(node, *[event(sandbox)] * 512)
    await reported(node, event(sandbox))
    lines = await node.client.get(
        f"/v1/sandboxes/{sandbox}/egress/events", headers={"Accept": "application/x-ndjson"}
    )
    assert [json.loads(line)["id"] for line in lines.text.splitlines()] == list(range(1, 1026))


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"cursor": "x"},
        {"cursor": "9" * 30},
        {"verdict": "maybe"},
        {"kind": "x"},
        {"since": "1"},
        {"unknown": "1"},
    ],
)
async def test_bad_questions_for_events_are_refused(node: Node, query: dict[str, str]) -> None:
    sandbox = (await create(node))["id"]
    response = await node.client.get(f"/v1/sandboxes/{sandbox}/egress/events", params=query)
    assert response.status_code == 400, response.text


async def test_events_of_others_are_not_shown(node: Node) -> None:
    sandbox = (await create(node))["id"]
    path = f"/v1/sandboxes/{sandbox}/egress/events"
    for scope, status in (("read", 200), ("sandboxes", 200), ("templates", 403)):
        shown = await node.client.get(path, headers=await key_with(node, scope))
        assert shown.status_code == status
    none = await node.client.get(f"/v1/sandboxes/{new_sandbox_id()}/egress/events")
    assert none.status_code == 404


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    """A node whose API is served over a socket: streams come piece by piece."""
    async with running_node(configuration_for(tmp_path)) as node:
        path = str(tmp_path / "api.sock")
        config = uvicorn.Config(
            app.build(node.services), uds=path, lifespan="off", log_config=None, loop="none"
        )
        server = uvicorn.Server(config)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve())
            await eventually(lambda: server.started)
            async with httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=path),
                base_url="http://node",
                headers={"Authorization": f"Bearer {KEY}", "Accept": "text/event-stream"},
            ) as client:
                yield node, client
            server.should_exit = True


async def numbers(response: httpx.Response, count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(20):
        async for line in response.aiter_lines():
            if line.startswith("id: "):
                found.append(int(line.removeprefix("id: ")))
            elif line.startswith("data: "):
                assert json.loads(line.removeprefix("data: "))["id"] == found[-1]
                if len(found) == count:
                    break
    return found


async def test_events_are_followed_as_they_happen(
    served: tuple[Node, httpx.AsyncClient],
) -> None:
    node, client = served
    sandbox = (await create(node))["id"]
    path = f"/v1/sandboxes/{sandbox}/egress/events"
    await reported(node, *[event(sandbox)] * 3)
    async with client.stream("GET", path) as live:
        assert live.headers["content-type"].startswith("text/event-stream")
        # Nothing of before; the comment says that it has begun.
        lines = live.aiter_lines()
        assert await anext(lines) == ": following"
        await reported(node, event(sandbox), event(sandbox, verdict="denied"))
        async for line in lines:
            if line.startswith("id: "):
                assert line == "id: 4"
                break
    async with client.stream("GET", path, params={"since": 1}) as since:
        assert await numbers(since, 4) == [2, 3, 4, 5]
    async with client.stream("GET", path, params={"since": 0, "verdict": "denied"}) as some:
        assert await numbers(some, 1) == [5]
    async with client.stream("GET", path, headers={"Last-Event-ID": "3"}) as back:
        assert await numbers(back, 2) == [4, 5]
