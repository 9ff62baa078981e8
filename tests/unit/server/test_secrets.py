"""Secrets over the API: set, used, deleted, and sealed anew; their values are seen nowhere."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from node_peers.node import Node, configuration_for, create, rows

from wardian.server.configuration import Configuration, ConfigurationError
from wardian.server.errors import Unavailable, WardianError
from wardian.server.node import edge_messages, protocol
from wardian.server.node.egress_messages import Allow, HeaderInjection
from wardian.server.secrets.model import Secret
from wardian.server.services import open_services
from wardian.server.store import authorities
from wardian.server.store.database import Database
from wardian.server.store.rotation import Rotation
from wardian.server.store.sandboxes import SandboxStore
from wardian.server.store.sealing import Sealer
from wardian.server.store.secrets import SecretStore

from .conftest import running_node
from .test_api_node import key_with
from .test_store import record

VALUE = "s3cret-value"
INJECT = [{"header": "Authorization", "value": "Bearer {TOKEN}"}]


def rule(host: str = "api.example", **fields: Any) -> dict[str, Any]:
    return {"action": "allow", "host": host, "inject": INJECT} | fields


async def put(node: Node, name: str = "TOKEN", value: str = VALUE, **more: Any) -> httpx.Response:
    return await node.client.put(f"/v1/secrets/{name}", json={"value": value} | more)


def injected(node: Node, sandbox: str) -> str:
    action = node.edge.routes[sandbox].egress.rules[0].action
    assert isinstance(action, Allow)
    (header,) = action.inject
    assert isinstance(header, HeaderInjection)
    return header.value


async def test_secrets_are_listed_without_values(node: Node) -> None:
    made = await put(node, hosts=["API.example", "*.other.example"])
    assert made.status_code == 201
    again = await put(node, value="other", hosts=["api.example"])
    assert again.status_code == 200
    await put(node, "A")
    listed = (await node.client.get("/v1/secrets")).json()["secrets"]
    assert [each["name"] for each in listed] == ["A", "TOKEN"]
    assert listed[1]["hosts"] == ["api.example"]
    assert listed[1]["created_at"] == made.json()["created_at"] <= listed[1]["updated_at"]
    assert set(listed[0]) == {"name", "hosts", "created_at", "updated_at"}
    assert (await node.client.delete("/v1/secrets/A")).status_code == 204
    gone = await node.client.delete("/v1/secrets/A")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "secret_not_found")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("lower", {"value": VALUE}),
        ("1A", {"value": VALUE}),
        ("A" * 65, {"value": VALUE}),
        ("A", {}),
        ("A", {"value": ""}),
        ("A", {"value": VALUE + "\n"}),
        ("A", {"value": VALUE + "\u0085"}),
        ("A", {"value": VALUE * 6000}),
        ("A", {"value": VALUE, "hosts": ["a b"]}),
        ("A", {"value": VALUE, "hosts": "a"}),
        ("A", {"value": [VALUE]}),
        ("A", {"value": VALUE, "x": 1}),
    ],
)
async def test_what_can_not_be_a_secret_is_refused(
    node: Node, name: str, body: dict[str, Any]
) -> None:
    refused = await node.client.put(f"/v1/secrets/{name}", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")
    assert VALUE not in refused.text
    assert (await node.client.get("/v1/secrets")).json() == {"secrets": []}


async def test_secrets_have_a_scope_of_their_own(node: Node) -> None:
    calls = {
        ("GET", "/v1/secrets"): {"admin", "secrets"},
        ("PUT", "/v1/secrets/A"): {"admin", "secrets"},
        ("DELETE", "/v1/secrets/A"): {"admin", "secrets"},
        ("POST", "/v1/secrets/rotate-key"): {"admin"},
    }
    for scope in ("admin", "secrets", "sandboxes", "templates", "read"):
        headers = await key_with(node, scope)
        for (method, path), allowed in calls.items():
            body = {"value": "v"} if method == "PUT" else None
            response = await node.client.request(method, path, headers=headers, json=body)
            assert (response.status_code != 403) == (scope in allowed), (scope, method, path)


async def test_a_changed_secret_is_in_force_when_the_call_returns(node: Node) -> None:
    await put(node)
    users = [(await create(node, egress={"rules": [rule()]}))["id"] for _ in range(3)]
    bystander = (await create(node, egress="on"))["id"]
    before = len(node.edge.messages)
    await put(node, value="newer")
    assert [injected(node, sandbox) for sandbox in users] == ["Bearer newer"] * 3
    puts = [each for each in node.edge.messages[before:] if isinstance(each, edge_messages.Put)]
    assert {each.sandbox.sandbox for each in puts} == set(users)
    assert bystander not in users


async def test_a_secret_in_use_can_not_be_deleted(node: Node) -> None:
    await put(node)
    by_rule = (await create(node, name="user", egress={"rules": [rule()]}))["id"]
    refused = await node.client.delete("/v1/secrets/TOKEN")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "secret_in_use")
    assert "'user'" in refused.text
    await node.client.delete(f"/v1/sandboxes/{by_rule}")
    held = (await create(node, env={"KEY": {"secret": "TOKEN"}}))["id"]
    assert (await node.client.delete("/v1/secrets/TOKEN")).status_code == 409
    await node.client.delete(f"/v1/sandboxes/{held}")
    assert (await node.client.delete("/v1/secrets/TOKEN")).status_code == 204


async def test_a_create_that_failed_uses_nothing(node: Node) -> None:
    await put(node)
    node.launcher.fail("create", protocol.Failure("no_space", "full"))
    failed = await node.client.post("/v1/sandboxes", json={"egress": {"rules": [rule()]}})
    assert failed.status_code == 503
    await create(node, name="taken")
    refused = await node.client.post(
        "/v1/sandboxes", json={"name": "taken", "egress": {"rules": [rule()]}}
    )
    assert refused.status_code == 409
    assert (await node.client.delete("/v1/secrets/TOKEN")).status_code == 204


async def test_a_delete_and_a_create_at_once_do_not_pass_each_other(node: Node) -> None:
    await put(node)
    node.launcher.create_gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        making = tasks.create_task(create(node, egress={"rules": [rule()]}))
        while not node.launcher.asked(protocol.Create):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        deleting = tasks.create_task(node.client.delete("/v1/secrets/TOKEN"))
        await asyncio.sleep(0.05)
        node.launcher.create_gate.set()
    assert deleting.result().status_code == 409
    assert injected(node, making.result()["id"]) == f"Bearer {VALUE}"


async def test_a_secret_goes_only_where_it_may(node: Node) -> None:
    await put(node, hosts=["*.example", "9.9.9.9"])
    sandbox = (await create(node, egress={"rules": [rule()]}))["id"]
    path = f"/v1/sandboxes/{sandbox}/egress"
    for fields in (
        {"host": "example"},
        {"host": "*"},
        {"host": None},
        {"host": None, "hosts": ["api.example", "evil.test"]},
        {"host": None, "cidrs": ["9.9.9.9/32"]},
        {"host": "evil.test", "inject": [], "substitute": ["TOKEN"]},
    ):
        wanted = {name: value for name, value in rule(**fields).items() if value is not None}
        refused = await node.client.put(path, json={"rules": [wanted]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "secret_host")
        assert VALUE not in refused.text
    for host in ("api.example", "*.api.example", "*.example", "9.9.9.9"):
        taken = await node.client.put(path, json={"rules": [rule(host)]})
        assert taken.status_code == 200, taken.text
    await node.client.put(path, json={"rules": [rule("api.example")]})
    narrowed = await put(node, hosts=["other.example"])
    assert (narrowed.status_code, narrowed.json()["error"]["code"]) == (409, "secret_host")
    assert (await put(node, value="n", hosts=["api.example"])).status_code == 200
    assert injected(node, sandbox) == "Bearer n"


async def test_values_are_in_no_log_and_no_repr(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await put(node)
        made = await create(
            node, egress={"rules": [rule(substitute=["TOKEN"])]}, env={"K": {"secret": "TOKEN"}}
        )
        await put(node, value=VALUE + "2")
        await node.client.delete("/v1/secrets/TOKEN")
        await node.client.put("/v1/secrets/TOKEN", json={"value": VALUE + "\n"})
    told = "".join(repr(vars(each)) for each in caplog.records)
    assert VALUE not in told
    shown = (node.edge.routes[made["id"]], Secret("t", "N", VALUE, (), 0, 0), node.edge.messages)
    assert VALUE not in repr(shown)


async def test_a_variable_may_be_changed_to_a_placeholder(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, str | None]] = []

    async def change_env(_record: object, changes: dict[str, str | None]) -> None:
        told.append(dict(changes))

    await put(node)
    made = await create(node, env={"OLD": "x"})
    # The agent is none here; what it is told is what counts.
    monkeypatch.setattr(node.services.lifecycle._agents, "change_env", change_env)
    path = f"/v1/sandboxes/{made['id']}"
    body = {"env": {"KEY": {"secret": "TOKEN"}, "OLD": None}}
    assert (await node.client.patch(path, json=body)).status_code == 200
    (placeholder,) = node.edge.routes[made["id"]].egress.placeholders
    assert told == [{"KEY": placeholder.text, "OLD": None}]
    unknown = await node.client.patch(path, json={"env": {"KEY": {"secret": "NONE"}}})
    assert unknown.status_code == 404 and len(told) == 1
    assert (await node.client.delete("/v1/secrets/TOKEN")).status_code == 409


def sealed(configuration: Configuration) -> list[tuple[object, ...]]:
    return [
        *rows(configuration, "SELECT secrets FROM sandboxes ORDER BY id"),
        *rows(configuration, "SELECT secrets FROM exposures ORDER BY sandbox"),
        *rows(configuration, "SELECT value FROM secrets ORDER BY name"),
        *rows(configuration, "SELECT private_key FROM authorities"),
    ]


async def test_everything_is_sealed_anew_under_a_new_key(tmp_path: Path) -> None:
    configuration = configuration_for(tmp_path)
    key = configuration.control_home / "secret.key"
    async with running_node(configuration) as node:
        await put(node)
        made = await create(node, egress={"rules": [rule()]})
        exposed = await node.client.post(f"/v1/sandboxes/{made['id']}/exposures", json={"port": 80})
        ticket = await node.client.post(
            f"/v1/sandboxes/{made['id']}/tickets", json={"service": "run"}
        )
        before, old_key = sealed(configuration), key.read_bytes()
        rotated = await node.client.post("/v1/secrets/rotate-key")
        assert rotated.json() == {"secrets": 4}, rotated.text
        after = sealed(configuration)
        assert len(before) == len(after) == 4 and not set(before) & set(after)
        assert key.read_bytes() != old_key and key.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in key.parent.glob("secret.*")] == ["secret.key"]
        with pytest.raises(WardianError):
            await node.services.tickets.check(ticket.json()["ticket"])
        # All goes on, and more is sealed.
        assert (await node.client.get(f"/v1/sandboxes/{made['id']}")).status_code == 200
        await put(node, value="newer")
        assert injected(node, made["id"]) == "Bearer newer"
        again = await node.client.post("/v1/secrets/rotate-key")
        assert again.json() == {"secrets": 4}
        kept = node.launcher.sandboxes
    async with running_node(configuration, kept) as node:
        assert injected(node, made["id"]) == "Bearer newer"
        shown = await node.client.get(f"/v1/sandboxes/{made['id']}/exposures")
        assert shown.json()["exposures"] == [exposed.json()]


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_rotation_that_was_cut_off_is_finished_at_the_next_start(
    tmp_path: Path, cut: str
) -> None:
    configuration = configuration_for(tmp_path)
    key = configuration.control_home / "secret.key"
    async with running_node(configuration) as node:
        await put(node)
        old_key, before = key.read_bytes(), sealed(configuration)
        sealer = node.services.sealer
        sealer.begin()
        if cut == "after":
            sealer.finish = _die  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                await node.services.rotation.run()
        # The process dies here: both keys lie on the disk.
        assert key.read_bytes() == old_key and key.with_suffix(".next").exists()
    async with open_services(configuration) as services:
        assert [each.value for each in services.secrets.list("default")] == [VALUE]
    assert not key.with_suffix(".next").exists() and key.read_bytes() != old_key
    assert not set(before) & set(sealed(configuration))


def _die() -> None:
    raise KeyboardInterrupt


async def test_a_rotation_that_fails_keeps_the_old_key(node: Node) -> None:
    await put(node)
    database = sqlite3.connect(node.configuration.control_home / "wardian.db")
    with database:
        database.execute("UPDATE secrets SET value = 'AAAA'")
    before = sealed(node.configuration)
    failed = await node.client.post("/v1/secrets/rotate-key")
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "internal")
    # One transaction: nothing was sealed anew, and all can still be opened.
    assert sealed(node.configuration) == before
    with database:
        database.execute("DELETE FROM secrets")
    database.close()
    assert (await node.client.post("/v1/secrets/rotate-key")).json() == {"secrets": 1}


async def test_rotation_and_secrets_in_both_databases(database: Database, tmp_path: Path) -> None:
    sealer = Sealer.from_file(tmp_path / "secret.key")
    secrets, sandboxes = SecretStore(database, sealer), SandboxStore(database, sealer)
    kept = Secret("t", "A", "vä", ("*.example",), 1, 2)
    assert await secrets.put("t", lambda _: kept) == kept
    await secrets.put("other", lambda there: Secret("other", "A", str(len(there)), (), 1, 2))
    sandbox = record()
    await sandboxes.insert(sandbox)
    made = await authorities.obtain(database, sealer, "0a1b2c3d")
    assert await authorities.obtain(database, sealer, "0a1b2c3d") == made
    assert (await authorities.obtain(database, sealer, "ffffffff")) != made
    assert await Rotation(database, sealer).run() == 5
    fresh = Sealer.from_file(tmp_path / "secret.key")
    assert not fresh.unfinished
    assert [each.value for each in await SecretStore(database, fresh).all()] == ["0", "vä"]
    assert await SandboxStore(database, fresh).by_id(sandbox.id) == sandbox
    assert await authorities.obtain(database, fresh, "0a1b2c3d") == made
    await secrets.delete("t", "A")
    await secrets.delete("t", "A")
    assert [each.tenant for each in await secrets.all()] == ["other"]


def test_half_a_key_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    Sealer.from_file(path)
    path.with_suffix(".next").write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="5 bytes"):
        Sealer.from_file(path)


async def test_a_database_that_is_away_refuses_and_forgets_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(node)

    async def away(*_: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(SecretStore, "delete", away)
        assert (await node.client.delete("/v1/secrets/TOKEN")).status_code == 503
    assert len((await node.client.get("/v1/secrets")).json()["secrets"]) == 1
    await create(node, egress={"rules": [rule()]})
