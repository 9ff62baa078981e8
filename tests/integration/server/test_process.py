"""The control plane as a process: killed, stopped, started again, badly configured."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from node_peers.edge import FakeEdge
from node_peers.launcher import FakeLauncher
from node_peers.node import base_template, configuration_for, eventually, rows

from wardian.server.configuration import Configuration
from wardian.server.store.database import SqliteDatabase
from wardian.server.store.templates import TemplateStore

KEY = "e2b_" + "7" * 40


@dataclass
class Server:
    """A control plane in a process of its own, and the peers it talks to."""

    configuration: Configuration
    launcher: FakeLauncher
    log: Path
    started: list[Process] = field(default_factory=list)

    async def start(self) -> Process:
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "wardian.server"),
                *("--config", f"{self.configuration.home}/node.json"),
                stderr=log,
            )
        self.started.append(process)
        return process

    async def ready(self) -> None:
        while (await self.call("GET", "/v1/health")).get("launcher") is not True:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        transport = httpx.AsyncHTTPTransport(uds=str(self.configuration.control_run / "api.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            try:
                response = await client.request(
                    method, path, headers={"X-API-Key": KEY}, timeout=60, **arguments
                )
            except httpx.TransportError:
                return {}
        assert response.status_code < 300, response.text
        return response.json()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    configuration = configuration_for(tmp_path)
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    (configuration.control_home / "first-key.sha256").write_text(digest)
    database = await SqliteDatabase.open(configuration.control_home / "wardian.db")
    await TemplateStore(database).put(base_template())
    await database.close()
    launcher = FakeLauncher(configuration.launcher_socket)
    launcher.layers["a" * 64] = b""
    await launcher.start()
    running = Server(configuration, launcher, tmp_path / "log")
    yield running
    for process in running.started:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await launcher.stop()


async def test_after_kill_9_nothing_is_lost_and_what_happened_meanwhile_is_seen(
    server: Server,
) -> None:
    process = await server.start()
    async with asyncio.timeout(30):
        await server.ready()
    kept, lost = [await server.call("POST", "/v1/sandboxes", json={}) for _ in range(2)]
    process.kill()
    await process.wait()
    server.launcher.end(lost["id"], "out_of_memory", tell=False)
    await server.start()
    async with asyncio.timeout(30):
        await server.ready()
    assert await server.call("GET", f"/v1/sandboxes/{kept['id']}") == kept
    query = f"select state, reason from sandboxes where id = '{lost['id']}'"
    await eventually(lambda: rows(server.configuration, query) == [("ended", "out of memory")])
    await eventually(lambda: list(server.launcher.sandboxes) == [kept["id"]])
    edge = FakeEdge(server.configuration.control_run / "edge.sock")
    await edge.start()
    await asyncio.wait_for(edge.synced.wait(), 20)
    assert list(edge.routes) == [kept["id"]]
    await edge.stop()


async def test_kill_9_in_the_middle_of_a_create_orphans_nothing(server: Server) -> None:
    process = await server.start()
    async with asyncio.timeout(30):
        await server.ready()
    server.launcher.create_gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(server.call("POST", "/v1/sandboxes", json={}))
        await eventually(lambda: len(server.launcher.requests) >= 3)
        process.kill()
    server.launcher.create_gate.set()
    # As if the launcher had been done just then; its record may or may not have been written.
    await process.wait()
    await server.start()
    async with asyncio.timeout(30):
        await server.ready()
    live = "select id from sandboxes where state = 'running'"
    pending = "select id from sandboxes where state = 'creating'"

    def agreed() -> bool:
        recorded = {row[0] for row in rows(server.configuration, live)}
        return recorded == set(server.launcher.sandboxes) and not rows(
            server.configuration, pending
        )

    await eventually(agreed)


async def test_a_stop_ends_no_sandbox_and_leaves_no_socket(server: Server) -> None:
    process = await server.start()
    async with asyncio.timeout(30):
        await server.ready()
    made = await server.call("POST", "/v1/sandboxes", json={"env": {"A": "hunter2"}})
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert list(server.launcher.sandboxes) == [made["id"]]
    assert os.listdir(server.configuration.control_run) == []
    messages = [line["message"] for line in server.lines()]
    assert "serving" in messages and messages[-1] == "stopped"
    for secret in ("hunter2", KEY, made["agent"]["token"]):
        assert secret not in server.log.read_text()


async def test_the_sockets_are_for_the_group_and_a_second_server_is_refused(
    server: Server,
) -> None:
    await server.start()
    async with asyncio.timeout(30):
        await server.ready()
    for name in ("api.sock", "edge.sock"):
        path = server.configuration.control_run / name
        assert path.stat().st_mode & 0o777 == 0o660
    second = await server.start()
    assert await asyncio.wait_for(second.wait(), 30) == 64
    assert (await server.call("GET", "/v1/node"))["classes"] == ["container"]


async def test_a_bad_configuration_ends_with_64(server: Server) -> None:
    path = Path(server.configuration.home) / "node.json"
    good = path.read_text()
    for bad in ("{", json.dumps(json.loads(good) | {"colour": "red"})):
        path.write_text(bad)
        process = await server.start()
        assert await asyncio.wait_for(process.wait(), 30) == 64
    path.write_text(good)
    (server.configuration.control_home / "secret.key").write_bytes(b"short")
    process = await server.start()
    assert await asyncio.wait_for(process.wait(), 30) == 64


async def test_under_a_passphrase_secrets_outlive_the_process_and_nothing_starts_without_it(
    server: Server, tmp_path: Path
) -> None:
    path = Path(server.configuration.home) / "node.json"
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery\n")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"passphrase": str(passphrase)}))
    for _ in range(2):
        process = await server.start()
        await asyncio.wait_for(server.ready(), 30)
        await server.call("PUT", "/v1/secrets/KEPT", json={"value": "kept"})
        assert [each["name"] for each in (await server.call("GET", "/v1/secrets"))["secrets"]] == [
            "KEPT"
        ]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    passphrase.write_text("another than it was\n")
    process = await server.start()
    assert await asyncio.wait_for(process.wait(), 30) == 64
    assert "another passphrase" in server.log.read_text()
    assert "correct horse battery" not in server.log.read_text()
