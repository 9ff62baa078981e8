"""What a test needs to know of the node it talks to."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from node_peers.edge import FakeEdge
from node_peers.launcher import FakeLauncher
from wardian.server.configuration import Binaries, Configuration, Pool
from wardian.server.services import Services, open_database
from wardian.server.store.templates import TemplateStore
from wardian.server.templates.model import Template


@dataclass
class Node:
    configuration: Configuration
    services: Services
    launcher: FakeLauncher
    edge: FakeEdge
    client: httpx.AsyncClient


async def create(node: Node, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    """Makes a sandbox over the API."""
    response = await node.client.post("/v1/sandboxes", json=body, headers=headers or {})
    assert response.status_code == 201, response.text
    return response.json()


def configuration_for(directory: Path) -> Configuration:
    """A node below ``directory``, with the directories set-up would have made."""
    home, run = directory / "home", directory / "run"
    (home / "control" / "spool").mkdir(parents=True)
    (run / "control").mkdir(parents=True)
    configuration = Configuration(
        home=str(home),
        run=str(run),
        instance="0a1b2c3d",
        listen="127.0.0.1:7300",
        domain="localhost",
        tls=None,
        control_uid=os.getuid(),
        edge_uid=os.getuid(),
        gid=os.getgid(),
        binaries=Binaries("/agent", "/edge", "/launcher"),
        control_command=[],
        pool=Pool(str(home / "pool"), "plain", None),
        uid_base=2000000000,
        uid_slots=100,
        parked=0,
    )
    (home / "node.json").write_bytes(msgspec.json.encode(configuration))
    return configuration


def base_template(name: str = "base") -> Template:
    return Template(
        name=name,
        layers=("a" * 64,),
        size_bytes=1,
        user="user",
        workdir=None,
        env={"LANG": "C.UTF-8"},
        start_command=None,
        source="tar",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


async def template(services: Services, name: str) -> None:
    """Stores a template past the catalog, whose layers the launcher is said to have."""
    database = await open_database(services.configuration)
    await TemplateStore(database).put(base_template(name))
    await database.close()


def rows(configuration: Configuration, query: str) -> list[tuple[object, ...]]:
    """What the database file holds, read past the server."""
    with sqlite3.connect(configuration.control_home / "wardian.db") as connection:
        return connection.execute(query).fetchall()


async def eventually(holds: Callable[[], object], seconds: float = 20) -> None:
    """Waits until ``holds()`` is true; the bound only keeps a broken test from hanging."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.01)
