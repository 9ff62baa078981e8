"""Protocols the edge knows nothing of, by host name and port: real servers on the node, reached
with their usual clients as if their names were in DNS. And QUIC, which is told no at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from doubles.authority import Authority

from wardian import Egress, EgressEvent, Sandbox

from . import openssh, sandbox_wheels
from .openssh import GitOverSsh
from .postgres import cluster
from .redis_server import redis_server
from .waiting import until

CODE, DATABASE, CACHE = (f"{each}.team.example" for each in ("code", "database", "cache"))
PASSWORD = "a-password-of-redis"
PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="module")
def code() -> Iterator[GitOverSsh]:
    """Git over SSH."""
    with openssh.git_over_ssh() as server:
        yield server


@pytest.fixture(scope="module")
def database(authority: Authority) -> Iterator[str]:
    """PostgreSQL's URL on this machine."""
    with cluster(authority.issue(DATABASE)) as url:
        yield url


@pytest.fixture(scope="module")
def cache() -> Iterator[str]:
    """Address of Redis."""
    with redis_server(PASSWORD) as address:
        yield address


@pytest.fixture(scope="module")
def sandbox(node: Any, code: GitOverSsh, database: str, cache: str) -> Iterator[Sandbox]:
    """A sandbox that reaches each of them at one port."""
    parts = urlsplit(database)
    egress = (
        Egress()
        .allow(CODE, ports=22, name="ssh", connect_to=code.address)
        .allow(DATABASE, ports=5432, name="sql", connect_to=f"{parts.hostname}:{parts.port}")
        .allow(CACHE, ports=6379, name="cache", connect_to=cache)
        .allow("web.team.example", ports=443, name="web", connect_to=cache)
    )
    with Sandbox.create("base", egress=egress, timeout=1200) as made:
        yield made


def _told(sandbox: Sandbox, host: str, verdict: str) -> list[EgressEvent]:
    """Events of a host, once there are any."""
    return until(
        lambda: list(sandbox.egress.events(host=host, verdict=verdict)), f"{host} is told of"
    )


def test_ssh(sandbox: Sandbox, code: GitOverSsh) -> None:
    sandbox.files.write("/home/user/.ssh/known_hosts", f"{CODE} {code.host_key}\n")
    sandbox.files.write("/home/user/.ssh/id_ed25519", code.client_key)
    sandbox.run("chmod 700 .ssh && chmod 600 .ssh/id_ed25519", check=True)
    url = f"ssh://{openssh.USER}@{CODE}{code.repository}"
    cloned = sandbox.run(f"git clone --quiet {url} app", timeout=60)
    assert cloned.ok, cloned.stderr
    assert sandbox.files.read("/home/user/app/README") == "over ssh\n"
    who = "-c user.name=Agent -c user.email=agent@example.com"
    change = f"date > now && git add now && git {who} commit -qm Now && git push --quiet"
    sandbox.run(change, cwd="/home/user/app", timeout=60, check=True)
    head = sandbox.run("git rev-parse HEAD", cwd="/home/user/app", check=True).stdout.strip()
    assert (code.repository / "refs/heads/main").read_text().strip() == head
    connections = _told(sandbox, CODE, "allowed")
    assert {(each.kind, each.port, each.rule) for each in connections} == {
        ("connection", 22, "ssh")
    }


def test_postgresql_and_redis(
    sandbox: Sandbox, authority: Authority, database: str, cache: str
) -> None:
    site = sandbox_wheels.install(sandbox, "psycopg[binary]", "redis")
    sandbox.files.write("/tmp/authority.pem", authority.pem)
    parts = urlsplit(database)
    # Its own certificate comes through: the edge has not been between.
    sql = f"postgresql://{parts.username}:{parts.password}@{DATABASE}/postgres?sslmode=verify-full"
    urls = [f"{sql}&sslrootcert=/tmp/authority.pem", f"redis://:{PASSWORD}@{CACHE}"]
    program = ["python3", "-c", (PROGRAMS / "databases.py").read_text(), *urls]
    done = sandbox.run(program, env={"PYTHONPATH": site}, timeout=100)
    assert done.ok, done.stderr
    assert json.loads(done.stdout) == {
        "rows": [20_000, "word 9999"],
        "tls": True,
        "pong": True,
        "length": 1_000_000,
        "heard by": 1,
        "news": "told",
    }
    (query,) = _told(sandbox, DATABASE, "allowed")
    assert (query.kind, query.port, query.rule) == ("connection", 5432, "sql")
    assert query.sent is not None and query.sent > 20_000 * len("word")
    stored = _told(sandbox, CACHE, "allowed")
    assert {(each.kind, each.port, each.rule) for each in stored} == {("connection", 6379, "cache")}


def test_another_port_is_refused(sandbox: Sandbox) -> None:
    dial = "import socket, sys; s = socket.create_connection((sys.argv[1], 6380)); print(s.recv(1))"
    done = sandbox.run(["python3", "-c", dial, CACHE], timeout=60)
    assert "ConnectionResetError" in done.stderr
    (refused,) = _told(sandbox, CACHE, "denied")
    assert (refused.kind, refused.port, refused.rule) == ("connection", 6380, None)


def test_quic_is_refused_at_once_and_told(sandbox: Sandbox) -> None:
    program = (PROGRAMS / "quic.py").read_text()
    done = sandbox.run(["python3", "-c", program, "web.team.example"], timeout=60, check=True)
    assert done.stdout.strip() == "ConnectionRefusedError"
    (refused,) = _told(sandbox, "web.team.example", "denied")
    assert (refused.kind, refused.port, refused.reason) == ("packet", 443, "protocol")
