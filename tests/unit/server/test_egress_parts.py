"""Parts of egress by themselves: authority, what is trusted, what is public, the edge's link."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from cryptography import x509
from node_peers.edge import FakeEdge
from node_peers.node import configuration_for, eventually

from wardian.server import sockets
from wardian.server.configuration import ConfigurationError
from wardian.server.egress import authority, trust
from wardian.server.egress.public_addresses import is_public, own_addresses
from wardian.server.errors import Unavailable
from wardian.server.node import edge_messages
from wardian.server.node.edge_link import EdgeLink
from wardian.server.node.edge_messages import EgressReport, Route
from wardian.server.node.egress_messages import (
    Deny,
    Event,
    Policy,
    Question,
    Rule,
    Settings,
    Traffic,
)
from wardian.server.sandboxes.identifiers import new_sandbox_id


def test_an_authority_is_one_that_others_accept(tmp_path: Path) -> None:
    made = authority.new("0a1b2c3d")
    assert made.usable and "PRIVATE" not in repr(made)
    certificate = x509.load_pem_x509_certificate(made.certificate.encode())
    assert certificate.subject.rfc4514_string() == "CN=Wardian egress 0a1b2c3d"
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert 3650 < life.days < 3660
    assert authority.new("0a1b2c3d").certificate != made.certificate
    path = tmp_path / "ca.pem"
    path.write_text(made.certificate)
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    command = [openssl, "verify", "-x509_strict", "-CAfile", str(path), str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_what_is_trusted_is_read_from_where_the_node_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, chosen, local, beside, own = (
        authority.new(name).certificate for name in ("a", "b", "c", "d", "e")
    )
    system, directory = tmp_path / "bundle.crt", tmp_path / "local"
    monkeypatch.setattr(trust, "SYSTEM_BUNDLE", system)
    monkeypatch.setattr(trust, "LOCAL_DIRECTORY", directory)
    plain = configuration_for(tmp_path / "node")
    assert trust.upstream(plain) == "" and trust.inside(plain, own) == own
    directory.mkdir()
    (Path(plain.home) / "trust").mkdir()
    (directory / "company.crt").write_text(f"# a note\n{local}")
    (Path(plain.home) / "trust" / "more.pem").write_text(beside + authority.new("x").key)
    system.write_text(public + local)
    assert trust.upstream(plain) == public + local + beside
    assert trust.inside(plain, own) == own + local + beside
    file = tmp_path / "chosen.pem"
    file.write_text(chosen)
    configured = msgspec.structs.replace(plain, trust=[str(file)])
    assert trust.upstream(configured) == chosen + local + beside
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        trust.upstream(msgspec.structs.replace(plain, trust=[str(tmp_path / "none.pem")]))
    file.write_bytes(b"x" * 5_000_000)
    with pytest.raises(ConfigurationError, match="longer"):
        trust.upstream(configured)
    # What an operator put there by mistake keeps no server from starting.
    (directory / "big.crt").write_bytes(b"x" * 5_000_000)
    assert trust.upstream(plain) == public + local + beside
    (directory / "many.crt").write_text(chosen * 1 + "".join([authority.new("n").certificate] * 1))
    monkeypatch.setattr(trust, "_MOST_INSIDE", len(own) * 2)
    assert trust.inside(plain, own) == own


@pytest.mark.parametrize(
    ("network", "public"),
    [
        ("1.1.1.1", True),
        ("8.0.0.0/8", True),
        ("2606:4700::/32", True),
        ("0.0.0.0/0", False),
        ("::/0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("172.0.0.0/8", False),
        ("192.0.0.0/16", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("2001::1", False),
        ("2001:db8::/32", False),
        ("2000::/3", False),
        ("::ffff:0:0/96", False),
    ],
)
def test_what_is_public(network: str, public: bool) -> None:
    assert is_public(network, []) == public


def test_the_nodes_own_addresses_are_not_public() -> None:
    found = own_addresses()
    assert "127.0.0.1" in {str(each) for each in found}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Sends nothing: the kernel only looks the way up.
        if probe.connect_ex(("192.0.2.1", 9)) == 0:
            assert probe.getsockname()[0] in {str(each) for each in found}
    mine = [ip_address("1.1.1.1"), ip_address("2606:4700::1")]
    assert not is_public("1.1.1.1", mine) and not is_public("1.0.0.0/8", mine)
    assert not is_public("2606:4700::/32", mine)
    assert is_public("1.1.1.2", mine) and is_public("2606:4700::2", mine)


@pytest_asyncio.fixture
async def reports() -> list[EgressReport]:
    return []


@pytest_asyncio.fixture
async def link(tmp_path: Path, reports: list[EgressReport]) -> AsyncIterator[EdgeLink]:
    import os

    settings = Settings("certificate", "key", "trusted")
    made = EdgeLink({os.getuid()}, 0.5, 0.1, settings, reports.append)
    with sockets.listening(tmp_path / "edge.sock") as listener:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(made.serve(listener))
            yield made
            serving.cancel()


def policy(size: int) -> Policy:
    name = "r" * size
    return Policy([Rule(name, ["a.example"], [], [], [], None, Deny())], [])


async def test_the_edge_reports_and_is_asked(
    link: EdgeLink, reports: list[EgressReport], tmp_path: Path
) -> None:
    question = Question("a.example", 443, None, None)
    with pytest.raises(Unavailable):
        await link.explain(policy(1), question)
    edge = FakeEdge(tmp_path / "edge.sock")
    await edge.start()
    await asyncio.wait_for(edge.synced.wait(), 5)
    (sync,) = edge.messages
    assert isinstance(sync, edge_messages.Sync) and sync.egress.trusted == "trusted"
    answer = await link.explain(policy(1), question)
    assert (answer.allowed, answer.rule) == (False, "r")
    sandbox = new_sandbox_id()
    said = EgressReport(
        [
            Event(
                sandbox, 1, "packet", "denied", None, "protocol", "1.1.1.1", 53, None, None, None,
                None, 0, 0, 0, [], None,
            )
        ],
        3,
        [Traffic(sandbox, 1, 2)],
    )  # fmt: skip
    edge.report(said)
    await eventually(lambda: reports)
    assert reports == [said]
    edge.silent = True
    with pytest.raises(Unavailable):
        await link.explain(policy(1), question)
    await edge.stop()


async def test_more_policies_than_one_message_holds_all_arrive(
    link: EdgeLink, tmp_path: Path
) -> None:
    routes = [Route(new_sandbox_id(), "running", None, [], policy(200_000)) for _ in range(100)]
    link.restore(routes)
    edge = FakeEdge(tmp_path / "edge.sock")
    await edge.start()
    wanted = {route.sandbox: route for route in routes}
    await eventually(lambda: edge.routes == wanted)
    first = edge.messages[0]
    # The first one names every sandbox: the edge would cut off those it does not.
    assert isinstance(first, edge_messages.Sync)
    assert {each.sandbox for each in first.sandboxes} == set(wanted)
    assert len(edge.messages) > 1
    await edge.stop()
