"""A control plane in this process: a real database, real sockets, peers without a kernel."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from node_peers import postgres
from node_peers.edge import FakeEdge
from node_peers.launcher import FakeLauncher
from node_peers.node import Node, configuration_for, template

from wardian.server import app, services, sockets
from wardian.server.configuration import Configuration
from wardian.server.node.protocol import SandboxStatus
from wardian.server.store.database import Database, SqliteDatabase
from wardian.server.store.postgres import PostgresDatabase
from wardian.server.store.sandboxes import SandboxStore
from wardian.server.store.sealing import Sealer

KEY = "e2b_" + "5" * 40


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """The directory of a real server's socket; started only when a test needs it."""
    binaries = postgres.binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    with postgres.cluster(binaries) as directory:
        yield directory


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        opened = await SqliteDatabase.open(tmp_path / "wardian.db")
        yield opened
        await opened.close()
        return
    async with postgres.empty_database(request.getfixturevalue("postgres_socket")) as url:
        server = await PostgresDatabase.open(url)
        yield server
        await server.close()


@pytest.fixture
def sandboxes(database: Database) -> SandboxStore:
    return SandboxStore(database, Sealer(b"k" * 32))


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A running control plane on SQLite."""
    async with running_node(configuration_for(tmp_path)) as running:
        yield running


@pytest_asyncio.fixture
async def postgres_node(tmp_path: Path, postgres_socket: Path) -> AsyncIterator[Node]:
    """The same on PostgreSQL."""
    configuration = configuration_for(tmp_path)
    async with postgres.empty_database(postgres_socket) as url:
        plain = url.replace("+asyncpg", "")
        (configuration.control_home / "database-url").write_text(plain + "\n")
        async with running_node(configuration) as running:
            yield running


@asynccontextmanager
async def running_node(
    configuration: Configuration, running: Mapping[str, SandboxStatus] | None = None
) -> AsyncGenerator[Node]:
    """A control plane with launcher and edge, and the template ``base``.

    Args:
        configuration: of the node.
        running: sandboxes that the launcher has from before.
    """
    (configuration.control_home / "first-key.sha256").write_text(
        hashlib.sha256(KEY.encode()).hexdigest()
    )
    launcher = FakeLauncher(configuration.launcher_socket)
    launcher.layers["a" * 64] = b""
    launcher.sandboxes |= running or {}
    await launcher.start()
    edge_path = configuration.control_run / "edge.sock"
    with sockets.listening(edge_path) as listener:
        async with (
            services.open_services(configuration) as opened,
            services.running(opened, listener),
        ):
            edge = FakeEdge(edge_path)
            await edge.start()
            await asyncio.wait_for(edge.synced.wait(), 5)
            await template(opened, "base")
            transport = httpx.ASGITransport(app.build(opened), raise_app_exceptions=False)
            headers = {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://node", headers=headers
            ) as client:
                yield Node(configuration, opened, launcher, edge, client)
            await edge.stop()
    await launcher.stop()
