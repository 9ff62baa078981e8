"""A node that keeps its records in PostgreSQL."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from wardian import Sandbox

from .host import agent_of, part_of
from .postgres import cluster
from .waiting import until


@pytest.fixture(scope="module")
def postgres_node(start_node: Any) -> Iterator[Any]:
    """A node of its own, whose store is a real server."""
    with (
        cluster() as url,
        start_node(database_url=url, templates=("minimal",), pool_size="2G") as started,
    ):
        yield started


def test_records_survive_a_restart_of_the_control_plane(postgres_node: Any, unique: str) -> None:
    server = {"url": postgres_node.url, "api_key": postgres_node.api_key}
    with Sandbox.create("minimal", unique, labels={"k": "v"}, **server) as sandbox:
        assert sandbox.run("echo hi").stdout == "hi\n"
        ended = Sandbox.create("minimal", **server)
        ended.kill()
        control = part_of(postgres_node.supervisor, "control")
        os.kill(control.pid, signal.SIGKILL)
        until(lambda: part_of(postgres_node.supervisor, "control").pid != control.pid, "a new one")
        assert [each.id for each in Sandbox.list(labels={"k": "v"}, **server)] == [sandbox.id]
        assert Sandbox.get(ended.id, **server).info().reason == "killed"
        assert sandbox.run("echo still").stdout == "still\n"
        assert agent_of(postgres_node, sandbox.id)
    assert not (postgres_node.home / "control" / "wardian.db").exists()


def test_a_name_is_one_sandboxs_there_too(postgres_node: Any, unique: str) -> None:
    server = {"url": postgres_node.url, "api_key": postgres_node.api_key}
    first = Sandbox.get_or_create(unique, "minimal", **server)
    try:
        assert Sandbox.get_or_create(unique, "minimal", **server).id == first.id
    finally:
        first.kill()
