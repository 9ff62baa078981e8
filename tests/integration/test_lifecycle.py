"""Sandboxes from create to end."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from wardian import AsyncSandbox, Client, NameTaken, Sandbox, SandboxGone

from .conftest import Make
from .host import alive, inside
from .waiting import until


def test_a_record_says_what_was_asked_for(make: Make, unique: str) -> None:
    sandbox = make(
        "base",
        name=unique,
        labels={"team": "blue", "a/b.c_d-e": "ü"},
        limits={"cpu": 0.5, "memory_mb": 256, "disk_mb": 100, "pids": 50},
        user="root",
        workdir="/opt",
    )
    info = sandbox.info()
    assert (info.state, info.name, info.template, info.class_) == (
        "running", unique, "base", "container",
    )  # fmt: skip
    assert info.labels == {"team": "blue", "a/b.c_d-e": "ü"}
    limits = info.limits
    assert (limits.cpu, limits.memory_mb, limits.disk_mb, limits.pids) == (0.5, 256, 100, 50)
    assert sandbox.run("id -un; pwd").stdout == "root\n/opt\n"
    assert info.created_at <= (info.started_at or info.created_at) <= datetime.now(UTC)
    assert info.expires_at is not None and info.ended_at is None and info.reason is None


def test_found_by_id_and_by_name(make: Make, unique: str) -> None:
    sandbox = make(name=unique)
    assert Sandbox.get(sandbox.id).name == unique
    assert Sandbox.get(unique).id == sandbox.id


def test_listed_by_labels_state_template_and_name(make: Make, unique: str) -> None:
    first, second = make(labels={"run": unique, "n": "1"}), make(labels={"run": unique, "n": "2"})
    third = make("base", name=unique, labels={"run": unique})

    def ids(**filters: Any) -> set[str]:
        return {sandbox.id for sandbox in Sandbox.list(**filters)}

    assert ids(labels={"run": unique}) == {first.id, second.id, third.id}
    assert ids(labels={"run": unique, "n": "2"}) == {second.id}
    assert ids(labels={"run": unique}, template="base") == {third.id}
    assert ids(name=unique) == {third.id}
    second.kill()
    assert ids(labels={"run": unique}) == {first.id, third.id}, "ended ones only when asked for"
    assert ids(labels={"run": unique}, state="ended") == {second.id}
    assert ids(labels={"run": unique}, state=["ended", "running"]) == {
        first.id,
        second.id,
        third.id,
    }


def test_a_long_list_comes_in_pages_without_gaps_or_repeats(make: Make, unique: str) -> None:
    made = {make(labels={"run": unique}).id for _ in range(7)}
    pages = Client().list_sandboxes(labels={"run": unique}, page_size=3)
    listed = [info.id for info in pages]
    assert len(listed) == 7 and set(listed) == made


def test_labels_timeout_and_name_can_be_changed(make: Make, unique: str) -> None:
    sandbox = make(labels={"old": "1"}, timeout=100)
    before = sandbox.info().expires_at
    after = sandbox.update(labels={"new": "2"}, timeout=5000, name=unique)
    assert (after.labels, after.name) == ({"new": "2"}, unique)
    assert before is not None and after.expires_at is not None and after.expires_at > before
    assert sandbox.set_timeout(None).expires_at is None
    assert Sandbox.get(unique).labels == {"new": "2"}, "what was not named stays"


def test_a_name_belongs_to_one_and_is_free_again_after_its_end(make: Make, unique: str) -> None:
    first = make(name=unique)
    with pytest.raises(NameTaken):
        make(name=unique)
    other = make()
    with pytest.raises(NameTaken):
        other.update(name=unique)
    first.kill()
    assert make(name=unique).id != first.id


async def test_get_or_create_twenty_times_at_once_is_one_sandbox(node: Any, unique: str) -> None:
    async with asyncio.TaskGroup() as group:
        calls = [
            group.create_task(AsyncSandbox.get_or_create(unique, "minimal")) for _ in range(20)
        ]
    found = [call.result() for call in calls]
    try:
        assert len({sandbox.id for sandbox in found}) == 1
        assert [each.id async for each in AsyncSandbox.list(name=unique)] == [found[0].id]
        assert (await found[-1].run("echo hi")).stdout == "hi\n"
    finally:
        await found[0].kill()


def test_kill_ends_it_and_is_no_error_twice(node: Any, make: Make) -> None:
    sandbox = make()
    sandbox.spawn(["sleep", "1000"]).disconnect()
    processes = inside(node, sandbox.id)
    assert len(processes) >= 2
    ended = sandbox.kill()
    assert (ended.state, ended.reason) == ("ended", "killed")
    assert ended.ended_at is not None
    assert sandbox.kill().ended_at == ended.ended_at
    assert alive(processes) == []
    with pytest.raises(SandboxGone):
        sandbox.run("true")


def test_an_ended_sandbox_keeps_its_record_and_usage(make: Make) -> None:
    sandbox = make()
    sandbox.run("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 3000000 /dev/zero >/f")
    running = sandbox.usage()
    assert running.cpu_seconds > 0 and (running.pids or 0) >= 1
    sandbox.kill()
    usage = sandbox.usage()
    assert usage.cpu_seconds >= running.cpu_seconds
    assert (usage.memory_peak_bytes or 0) > 0
    assert Sandbox.get(sandbox.id).info().reason == "killed"


def test_a_timeout_ends_it_and_says_so(make: Make) -> None:
    sandbox = make(timeout=1)
    until(lambda: sandbox.info().state == "ended", "its timeout")
    assert sandbox.info().reason == "expired"


def test_the_context_ends_what_it_made(node: Any) -> None:
    with Sandbox.create("minimal") as sandbox:
        assert sandbox.run("echo hi").stdout == "hi\n"
    assert sandbox.info().state == "ended"


def test_the_same_idempotency_key_makes_one_sandbox(
    make: Make, http: httpx.Client, unique: str
) -> None:
    sandbox = make(idempotency_key=unique, labels={"run": unique})
    again = make(idempotency_key=unique, labels={"run": unique})
    assert again.id == sandbox.id
    different = http.post(
        "/v1/sandboxes", json={"template": "base"}, headers={"Idempotency-Key": unique}
    )
    assert different.status_code == 409
    assert different.json()["error"]["code"] == "idempotency_mismatch"


def test_the_same_idempotency_key_ten_times_at_once_makes_one(
    http: httpx.Client, unique: str
) -> None:
    def create(_: int) -> httpx.Response:
        body = {"template": "minimal", "labels": {"run": unique}}
        return http.post("/v1/sandboxes", json=body, headers={"Idempotency-Key": unique})

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(create, range(10)))
    made = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    listed = list(Sandbox.list(labels={"run": unique}))
    for sandbox in listed:
        sandbox.kill()
    assert made and set(made) == {sandbox.id for sandbox in listed} and len(listed) == 1
    assert all(a.status_code in (201, 409) for a in answers), [a.status_code for a in answers]


async def test_a_hundred_creates_at_once_all_work_and_all_end(node: Any, unique: str) -> None:
    async def one(number: int) -> str:
        sandbox = await AsyncSandbox.create("minimal", labels={"run": unique})
        try:
            result = await sandbox.run(["echo", str(number)])
            assert result.stdout == f"{number}\n"
        finally:
            await sandbox.kill()
        return sandbox.id

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(100)]
    ids = {task.result() for task in tasks}
    assert len(ids) == 100
    ended = [each.id async for each in AsyncSandbox.list(labels={"run": unique}, state="ended")]
    assert set(ended) == ids
    assert [each.id async for each in AsyncSandbox.list(labels={"run": unique})] == []
