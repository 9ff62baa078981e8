"""The world outside a node, whole: names, servers, the record, and the authority behind them."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from security.network import DOUBLE_ADDRESS, World

from .authority import Authority
from .names import Names, NameServer
from .record import Record
from .web import Web

#: Ports the server doubles answer on.
PORTS: Final = (22, 25, 80, 443, 853, 2375, 3128, 5432, 6379, 8080, 8081, 8443, 9000)


@dataclass(slots=True)
class Outside:
    """Everything beyond the node."""

    world: World
    authority: Authority
    certificate: Path
    names: Names = field(default_factory=Names)
    record: Record = field(default_factory=Record)

    def clear(self) -> None:
        """Forgets all that was reached and asked."""
        self.record.clear()
        self.names.asked.clear()
        self.world.packets.clear()

    def reached(self) -> set[tuple[str, str, int | None]]:
        """Protocol, address and port of every packet that left the node, but for its questions to
        its own nameserver, which :attr:`names` keeps."""
        return {
            (each.protocol, each.destination, each.port)
            for each in list(self.world.packets)
            if (each.destination, each.port) not in {(server, 53) for server in nameservers()}
        }


@contextlib.contextmanager
def outside(world: World) -> Iterator[Outside]:
    """Lets names and servers answer in the namespace behind a node's."""
    with (
        tempfile.TemporaryDirectory(prefix="doubles-") as directory,
        contextlib.ExitStack() as stack,
    ):
        authority = Authority.new(Path(directory))
        certificate = Path(directory) / "authority.pem"
        certificate.write_text(authority.pem)
        # The control plane, another user, reads it.
        Path(directory).chmod(0o755)
        made = Outside(world, authority, certificate)
        web = Web(authority, made.record)
        with world.outside.entered():
            servers = [NameServer.on(made.names)]
            web.listen(*PORTS)
        with world.node.entered():
            # A machine that runs a resolver of its own asks it over loopback.
            servers += [NameServer.on(made.names, each) for each in nameservers() if _local(each)]
        reader, writer = socket.socketpair()
        stack.enter_context(reader)
        threads = [threading.Thread(target=each.serve, name="names") for each in servers]
        threads.append(threading.Thread(target=web.serve, args=(reader,), name="web"))
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        for server in servers:
            stack.callback(server.close)
        stack.callback(writer.close)
        yield made


def nameservers() -> list[str]:
    """Those that the machine's resolver asks."""
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    found = [line.split()[1] for line in lines if line.startswith("nameserver ")]
    return found or [DOUBLE_ADDRESS]


def _local(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
