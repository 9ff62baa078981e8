"""Records in both databases: the same code must hold the same promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from node_peers.node import base_template
from sqlalchemy import Connection, create_engine, inspect, text

from wardian.server.configuration import ConfigurationError
from wardian.server.errors import IdempotencyMismatch, NameTaken, Unavailable
from wardian.server.keys.keyring import Keyring
from wardian.server.keys.model import ApiKey
from wardian.server.node.protocol import Usage
from wardian.server.sandboxes.identifiers import new_sandbox_id
from wardian.server.sandboxes.records import (
    Idempotency,
    Limits,
    SandboxRecord,
    Secrets,
    State,
)
from wardian.server.store import migrations, tables
from wardian.server.store.database import Database, SqliteDatabase
from wardian.server.store.idempotency import RETENTION_MS
from wardian.server.store.keys import KeyStore
from wardian.server.store.pages import Filter
from wardian.server.store.sandboxes import SandboxStore
from wardian.server.store.templates import TemplateStore


def record(**changes: Any) -> SandboxRecord:
    plain = SandboxRecord(
        id=new_sandbox_id(),
        tenant="t",
        name=None,
        state=State.CREATING,
        reason=None,
        template="base",
        isolation="container",
        labels={},
        layers=("a" * 64, "b" * 64),
        limits=Limits(),
        user="user",
        workdir=None,
        secrets=Secrets("token", None, {"A": "ä\n"}),
        created_at=1000,
    )
    return replace(plain, **changes)


async def test_a_record_comes_back_as_it_was(sandboxes: SandboxStore) -> None:
    full = record(
        name="mine",
        state=State.RUNNING,
        labels={"k": "v"},
        workdir="/w",
        secrets=Secrets("token", "traffic", {}),
        started_at=2000,
        expires_at=2**41,
        limits=Limits(1, 2**40, 2**50, 8),
        usage=Usage(2**50, 2, 3, 4, 5, 6),
    )
    await sandboxes.insert(full)
    assert await sandboxes.by_id(full.id) == full
    assert await sandboxes.find("t", id=None, name="mine") == full
    assert await sandboxes.find("other", id=full.id, name=None) is None
    assert await sandboxes.find("other", id=None, name="mine") is None
    assert await sandboxes.live() == [full]


async def test_names_are_unique_among_the_living_of_a_tenant(sandboxes: SandboxStore) -> None:
    first = record(name="mine")
    await sandboxes.insert(first)
    await sandboxes.insert(record(name="mine", tenant="other"))
    with pytest.raises(NameTaken):
        await sandboxes.insert(record(name="mine"))
    await sandboxes.set_ended(first.id, "killed", 5, None, never_ran=False)
    await sandboxes.insert(record(name="mine"))


async def test_of_many_writers_of_one_name_one_wins(sandboxes: SandboxStore) -> None:
    results = await asyncio.gather(
        *(sandboxes.insert(record(name="mine")) for _ in range(8)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["NameTaken"] * 7 + ["NoneType"]


async def test_an_idempotency_key_stands_for_one_sandbox(sandboxes: SandboxStore) -> None:
    wanted = Idempotency("k", "digest")
    many = [record() for _ in range(8)]
    results = await asyncio.gather(*(sandboxes.insert(one, wanted) for one in many))
    (made,) = await sandboxes.live()
    assert sorted(results, key=str) == sorted([None] + [made.id] * 7, key=str)
    with pytest.raises(IdempotencyMismatch):
        await sandboxes.insert(record(), Idempotency("k", "other"))
    assert await sandboxes.insert(record(tenant="other"), wanted) is None
    # One that never ran frees its key; one that ran keeps it until it is old.
    await sandboxes.set_ended(made.id, "failed: x", 5, None, never_ran=True)
    second = record()
    assert await sandboxes.insert(second, wanted) is None
    await sandboxes.set_ended(second.id, "killed", 5, None, never_ran=False)
    assert await sandboxes.insert(record(), wanted) == second.id
    await sandboxes.purge_idempotency(1000 + RETENTION_MS)
    assert await sandboxes.insert(record(), wanted) == second.id
    await sandboxes.purge_idempotency(1001 + RETENTION_MS)
    assert await sandboxes.insert(record(), wanted) is None


async def test_an_ended_record_does_not_change_any_more(sandboxes: SandboxStore) -> None:
    made = record(name="mine")
    await sandboxes.insert(made)
    assert await sandboxes.set_running(made.id, 1500)
    assert not await sandboxes.set_running(made.id, 1600)
    before = await sandboxes.begin_ending(made.id, "killed")
    assert before is not None and before.ending is None
    # The first reason stays.
    again = await sandboxes.begin_ending(made.id, "expired")
    assert again is not None and again.ending == "killed"
    usage = Usage(1, 2, 3, 4, 5, 6)
    assert await sandboxes.set_ended(made.id, "killed", 1700, usage, never_ran=False)
    assert not await sandboxes.set_ended(made.id, "expired", 1800, None, never_ran=False)
    assert not await sandboxes.set_state(made.id, State.RUNNING)
    changed = replace(made, name="other", labels={"a": "b"}, expires_at=None)
    assert not await sandboxes.set_details(made, changed)
    ended = await sandboxes.by_id(made.id)
    assert ended is not None
    assert (ended.state, ended.reason, ended.ended_at) == (State.ENDED, "killed", 1700)
    assert (ended.usage, ended.started_at, ended.ending) == (usage, 1500, None)
    assert await sandboxes.count() == {}


async def test_pages_stay_true_while_sandboxes_come_and_go(sandboxes: SandboxStore) -> None:
    # Several of one millisecond: the id decides.
    made = [record(created_at=1000 + n // 3) for n in range(10)]
    for one in made:
        await sandboxes.insert(one)
    order = [one.id for one in sorted(made, key=lambda one: (one.created_at, one.id))][::-1]
    first = await sandboxes.page("t", Filter(), 4, None)
    assert [one.id for one in first.sandboxes] == order[:4]
    await sandboxes.insert(record(created_at=9000))
    await sandboxes.set_ended(order[5], "killed", 9000, None, never_ran=False)
    second = await sandboxes.page("t", Filter(), 100, first.next)
    assert [one.id for one in second.sandboxes] == [order[4], *order[6:]]
    assert second.next is None


async def test_label_filters_mean_all_of_them(sandboxes: SandboxStore) -> None:
    kinds = [{}, {"a": "1"}, {"a": "1", "b": "2"}, {"a": "2", "b": "2"}, {"a": "%", "b": ""}]
    for labels in kinds:
        await sandboxes.insert(record(labels=labels))
    pairs = [("a", "1"), ("a", "2"), ("b", "2"), ("a", "%"), ("b", ""), ("c", "1")]
    for wanted in [(), *((pair,) for pair in pairs), *((p, q) for p in pairs for q in pairs)]:
        page = await sandboxes.page("t", Filter(labels=wanted), 100, None)
        found = sorted(str(sorted(one.labels.items())) for one in page.sandboxes)
        expected = [kind for kind in kinds if set(wanted) <= set(kind.items())]
        assert found == sorted(str(sorted(kind.items())) for kind in expected), wanted


async def test_templates(database: Database) -> None:
    store = TemplateStore(database)
    assert await store.get("base") is None
    base = base_template()
    await store.put(base)
    assert await store.get("base") == base
    changed = replace(base, layers=("c" * 64,), workdir="/w", start_command="run")
    await store.put(changed)
    assert await store.get("base") == changed == await TemplateStore(database).get("base")
    assert await store.list() == [changed]
    assert await store.remove("base") and not await store.remove("base")
    assert await store.get("base") is None


async def test_template_users_are_those_that_live(
    database: Database, sandboxes: SandboxStore
) -> None:
    store = TemplateStore(database)
    one, two = record(), record()
    await sandboxes.insert(one)
    await sandboxes.insert(two)
    assert (await store.live_users("base"), await store.live_users("other")) == (2, 0)
    await sandboxes.set_ended(one.id, "killed", 5, None, never_ran=False)
    assert await store.live_users("base") == 1


async def test_keys_and_the_first_one(database: Database, tmp_path: Path) -> None:
    keyring = Keyring(KeyStore(database))
    path = tmp_path / "first-key.sha256"
    assert not await keyring.import_first(path)
    path.write_text("a" * 64 + "\n")
    assert await keyring.import_first(path) and not await keyring.import_first(path)
    (first,) = await keyring.list("default")
    assert (first.name, first.scopes) == ("first", {"admin"})
    await keyring.delete("default", first.id)
    # Deleted for good, also after the next start.
    assert not await keyring.import_first(path)
    assert await keyring.list("default") == []
    path.write_text("not a hash")
    with pytest.raises(ConfigurationError):
        await keyring.import_first(path)


async def test_a_key_may_not_be_deleted_by_another_tenant(database: Database) -> None:
    store = KeyStore(database)
    assert await store.add(ApiKey("key_1", "t", "n", frozenset({"read"}), "a" * 64, 1))
    assert await store.delete("other", "key_1", 2) is None
    assert await store.delete("t", "key_1", 2) == "a" * 64


def shape(connection: Connection) -> dict[str, Any]:
    """All a schema consists of, names of types as this database writes them."""
    found = inspect(connection)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"])
                for column in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted(
                (index["name"], tuple(index["column_names"]), bool(index["unique"]))
                for index in found.get_indexes(table)
            ),
            "references": [
                (key["constrained_columns"], key["referred_table"], key["options"])
                for key in found.get_foreign_keys(table)
            ],
        }
        for table in found.get_table_names()
    }


async def test_a_fresh_database_equals_an_upgraded_one(database: Database) -> None:
    def fresh(connection: Connection) -> dict[str, Any]:
        upgraded = shape(connection)
        assert upgraded.keys() == tables.metadata.tables.keys()
        tables.metadata.drop_all(connection)
        tables.metadata.create_all(connection)
        return {"upgraded": upgraded, "fresh": shape(connection)}

    shapes = await database.run(fresh)
    assert shapes["fresh"] == shapes["upgraded"]


def test_migrations_run_once_in_order_and_know_the_future() -> None:
    engine = create_engine("sqlite://")
    one = migrations.Migration(1, ("CREATE TABLE a (x INTEGER)",))
    two = migrations.Migration(
        2, ("ALTER TABLE a ADD COLUMN y TEXT", "INSERT INTO a VALUES (1, 2)")
    )
    with engine.begin() as connection:
        assert migrations.upgrade(connection, [one]) == [1]
        assert migrations.upgrade(connection, [one, two]) == [2]
        assert migrations.upgrade(connection, [one, two]) == []
        assert connection.execute(text("SELECT y FROM a")).all() == [("2",)]
        with pytest.raises(ConfigurationError, match="newer"):
            migrations.upgrade(connection, [one])
    numbers = [migration.number for migration in migrations.shipped()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_one_that_fails_undoes_itself_and_not_its_neighbours(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "wardian.db")

    def add(number: int, fails: bool) -> Any:
        def work(connection: Connection) -> None:
            connection.execute(text(f"INSERT INTO migrations VALUES ({number}, 0)"))
            if fails:
                raise LookupError(str(number))

        return work

    jobs = [database.run(add(number, number % 2 == 0)) for number in range(100, 160)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, type(None)] * 30
    count = await database.run(
        lambda connection: connection.execute(
            text("SELECT count(*), min(number % 2) FROM migrations WHERE number >= 100")
        ).one()
    )
    assert tuple(count) == (30, 1)
    await database.close()
    with pytest.raises(Unavailable):
        await database.run(lambda connection: None)


async def test_a_place_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await SqliteDatabase.open(tmp_path / "missing" / "wardian.db")
