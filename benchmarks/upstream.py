"""A fast server of TLS that all ways lead to, and the authority it is trusted by."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks import cache

#: What the certificate is for.
NAMES = ("opened.example", "spliced.example", "handled.example")
SMALL_BYTES = 1024
LARGE_BYTES = 64 << 20
_CONFIGURATION = """
daemon off; master_process off; pid {directory}/pid; error_log {directory}/errors crit;
events {{ worker_connections 4096; multi_accept on; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 600; sendfile on;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    ssl_protocols TLSv1.3; ssl_session_cache shared:all:10m;
    server {{
        listen {port} ssl http2 reuseport backlog=4096;
        ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.pem;
        root {directory}/files;
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Args:
    port: where it listens, on every address of this machine.
    authority: PEM file of whom clients must trust.
    """

    port: int
    authority: Path


@contextmanager
def authority() -> Generator[Path]:
    """A directory with `authority.pem` and the server's `server.pem` in it."""
    with tempfile.TemporaryDirectory(prefix="wardian-upstream-") as name:
        directory = Path(name)
        # The node's parts, which are other users, read whom to trust.
        directory.chmod(0o755)
        signer, leaf = _key(), _key()
        issuer = _name("Authority of the benchmarks")
        root = _certificate(issuer, issuer, signer).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        (directory / "authority.pem").write_bytes(
            root.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        names: list[x509.GeneralName] = [x509.DNSName(each) for each in NAMES]
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        server = _certificate(_name(NAMES[0]), issuer, leaf).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        chain = server.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (directory / "server.pem").write_bytes(
            chain
            + leaf.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        yield directory


@contextmanager
def serving(directory: Path) -> Generator[Upstream]:
    """Runs the server with the certificate of `authority`."""
    files = directory / "files"
    files.mkdir()
    (files / "small").write_bytes(b"x" * SMALL_BYTES)
    (files / "large").write_bytes(b"x" * LARGE_BYTES)
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(directory=directory, port=port))
    command = [cache.nginx(), "-c", configuration, "-p", directory, "-g", "user root;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)
            yield Upstream(port, directory / "authority.pem")
        finally:
            process.terminate()


def wait_for(port: int) -> None:
    """Returns once something listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + 7 * day)
    )
