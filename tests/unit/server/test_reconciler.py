"""Records become true again, whichever part died and whatever happened meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

from node_peers.edge import FakeEdge
from node_peers.node import Node, create, eventually, rows

from wardian.server.node import edge_messages, protocol
from wardian.server.node.protocol import Frozen, Running, SandboxStatus
from wardian.server.sandboxes.records import State


async def shown(node: Node, sandbox: str) -> dict[str, Any]:
    return (await node.client.get(f"/v1/sandboxes/{sandbox}")).json()


def states(node: Node) -> dict[str, tuple[object, object]]:
    found = rows(node.configuration, "select id, state, reason from sandboxes")
    return {str(row[0]): (row[1], row[2]) for row in found}


async def test_what_the_launcher_sees_ends_the_record_at_once(node: Node) -> None:
    reasons: list[tuple[protocol.EndReason, str]] = [
        ("out_of_memory", "out of memory"),
        ("agent_exited", "failed: the agent exited"),
        ("node_restarted", "node lost"),
    ]
    for reason, recorded in reasons:
        made = await create(node)
        node.launcher.end(made["id"], reason)
        await eventually(lambda made=made: states(node)[made["id"]][0] == "ended")
        assert (await shown(node, made["id"]))["reason"] == recorded
        usage = await node.client.get(f"/v1/sandboxes/{made['id']}/usage")
        assert usage.json()["cpu_seconds"] == 1.5
        # Its disk is removed, its route is gone.
        assert node.launcher.sandboxes == {} and node.edge.routes == {}


async def test_endings_missed_while_the_launcher_was_away_are_found(node: Node) -> None:
    lost, memory, kept = [(await create(node))["id"] for _ in range(3)]
    await node.launcher.stop()
    await eventually(lambda: not node.services.reconciler.launcher_watched)
    del node.launcher.sandboxes[lost]
    node.launcher.end(memory, "out_of_memory", tell=False)
    node.launcher.sandboxes["z" * 20] = SandboxStatus("z" * 20, Running(), 1)
    await node.launcher.start()
    expected = {
        lost: ("ended", "node lost"),
        memory: ("ended", "out of memory"),
        kept: ("running", None),
    }
    await eventually(lambda: states(node) == expected)
    await eventually(lambda: list(node.launcher.sandboxes) == [kept])
    assert list(node.edge.routes) == [kept]


async def test_a_create_cut_off_by_a_crash_is_adopted_or_failed(node: Node) -> None:
    made, gone = [(await create(node, {"Idempotency-Key": key}))["id"] for key in "ab"]
    # What a process that died in the middle leaves.
    with sqlite3.connect(node.configuration.control_home / "wardian.db") as database:
        database.execute("update sandboxes set state = 'creating', started_at = null")
    del node.launcher.sandboxes[gone]
    await node.services.reconciler.reconcile()
    assert states(node)[made] == ("running", None)
    assert states(node)[gone] == ("ended", "failed: the server stopped while making it")
    # Repeating the calls: the one is there, the other is made now.
    assert (await create(node, {"Idempotency-Key": "a"}))["id"] == made
    assert (await create(node, {"Idempotency-Key": "b"}))["id"] != gone


async def test_a_kill_that_could_not_finish_is_finished_with_its_reason(node: Node) -> None:
    made = await create(node)
    node.launcher.fail("kill", "hang up", "hang up")
    response = await node.client.delete(f"/v1/sandboxes/{made['id']}")
    assert response.status_code == 503 and response.json()["error"]["code"] == "unavailable"
    assert made["id"] in node.launcher.sandboxes
    await node.services.reconciler.reconcile()
    assert states(node)[made["id"]] == ("ended", "killed")
    assert node.launcher.sandboxes == {} and node.edge.routes == {}


async def test_what_is_being_made_is_not_judged(node: Node) -> None:
    node.launcher.create_gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        making = group.create_task(create(node))
        await eventually(lambda: node.launcher.asked(protocol.Create))
        await node.services.reconciler.reconcile()
        node.launcher.create_gate.set()
    assert making.result()["state"] == "running"
    assert node.launcher.asked(protocol.Kill) == []


async def test_a_sandbox_frozen_by_other_hands_is_shown_paused(node: Node) -> None:
    made = await create(node)
    node.launcher.sandboxes[made["id"]] = SandboxStatus(made["id"], Frozen(), 1)
    await node.services.reconciler.reconcile()
    assert (await shown(node, made["id"]))["state"] == State.PAUSED
    assert node.edge.routes[made["id"]].state == "paused"
    node.launcher.sandboxes[made["id"]] = SandboxStatus(made["id"], Running(), 1)
    await node.services.reconciler.reconcile()
    assert (await shown(node, made["id"]))["state"] == State.RUNNING
    assert node.edge.routes[made["id"]].state == "running"


async def test_the_end_of_its_time_ends_a_sandbox(node: Node) -> None:
    short, long = await create(node, timeout=1), await create(node, timeout=1)
    await node.client.patch(f"/v1/sandboxes/{long['id']}", json={"timeout": None})
    await eventually(lambda: states(node)[short["id"]] == ("ended", "expired"))
    assert list(node.launcher.sandboxes) == [long["id"]]


async def test_an_expiry_that_fails_is_tried_again(node: Node) -> None:
    node.launcher.fail("kill", "hang up", "hang up")
    made = await create(node, timeout=1)
    await eventually(lambda: states(node)[made["id"]] == ("ended", "expired"))
    assert node.launcher.sandboxes == {}


async def test_an_edge_that_comes_back_gets_everything(node: Node) -> None:
    kept = await create(node, traffic="private")
    await node.edge.stop()
    await eventually(lambda: not node.services.edge.connected)
    returned = FakeEdge(node.edge.path)
    async with asyncio.TaskGroup() as group:
        creation = group.create_task(create(node))
        await eventually(lambda: len(node.launcher.sandboxes) == 2)
        assert not creation.done(), "nobody could reach it yet"
        await returned.start()
    missed = creation.result()
    assert missed["id"] in returned.routes
    assert returned.routes.keys() == {kept["id"], missed["id"]}
    assert returned.routes[kept["id"]].traffic_token == kept["traffic_token"]
    await returned.stop()


async def test_an_edge_that_stays_away_holds_nobody_up_for_long(node: Node) -> None:
    await node.edge.stop()
    await eventually(lambda: not node.services.edge.connected)
    assert (await create(node))["state"] == "running"


async def test_an_edge_that_does_not_confirm_holds_nobody_up_for_long(node: Node) -> None:
    node.edge.silent = True
    made = await create(node)
    assert made["state"] == "running"
    # Its connection was dropped, so that it comes back and gets everything.
    await asyncio.wait_for(node.edge.ended.wait(), 20)


async def test_strangers_and_old_edges_are_turned_away(node: Node) -> None:
    old = FakeEdge(node.edge.path, version=edge_messages.EDGE_VERSION + 1)
    await old.start()
    await asyncio.wait_for(old.ended.wait(), 20)
    assert old.messages == []
    assert node.services.edge.connected
