"""Previews under a domain of one's own: TLS with a wildcard certificate, and behind a proxy."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from server_fixture import StartNode

from wardian import Sandbox

from .waiting import until

DOMAIN = "preview.test"
SERVER = (Path(__file__).parent / "programs" / "preview_server.py").read_text()


@pytest.fixture(scope="module")
def certificate() -> Iterator[Path]:
    """A directory with cert.pem and key.pem for the domain and all one label below it."""
    # Below a directory that the edge's user may enter.
    directory = Path(tempfile.mkdtemp(dir="/var/tmp"))
    directory.chmod(0o755)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, DOMAIN)])
    names = [x509.DNSName(DOMAIN), x509.DNSName(f"*.{DOMAIN}")]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([*names, x509.IPAddress(IPv4Address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / "key.pem").write_bytes(private)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def exposed(start_node: StartNode, certificate: Path) -> Iterator[tuple[Any, str]]:
    """A node of that domain, and the address of a server in one of its sandboxes."""
    words = ("--domain", DOMAIN, "--trusted-proxy", "127.0.0.1")
    words += ("--tls-certificate", str(certificate / "cert.pem"))
    words += ("--tls-key", str(certificate / "key.pem"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        with start_node(arguments=words) as node:
            options = {"url": node.url, "api_key": node.api_key}
            with Sandbox.create("base", timeout=600, **options) as sandbox:
                sandbox.files.write("/tmp/server.py", SERVER)
                sandbox.spawn(["python3", "/tmp/server.py", "8000"]).disconnect()
                url = sandbox.expose(8000, visibility="public").url
                until(lambda: _curl(node, certificate, url), "the server")
                yield node, url


def test_the_wildcard_certificate_serves_a_preview(
    exposed: tuple[Any, str], certificate: Path
) -> None:
    node, url = exposed
    assert url.startswith("https://8000-")
    assert url.endswith(f".{DOMAIN}:{node.port}")
    for version in ("--http1.1", "--http2"):
        seen = _curl(node, certificate, url, version)
        assert seen["headers"]["host"] == url.removeprefix("https://")


def test_a_trusted_proxys_word_is_taken(exposed: tuple[Any, str], certificate: Path) -> None:
    node, url = exposed
    claims = ("-H", "X-Forwarded-For: 6.6.6.6, 1.2.3.4", "-H", "X-Forwarded-Proto: http")
    headers = _curl(node, certificate, url, *claims)["headers"]
    assert headers["x-forwarded-for"] == "1.2.3.4"
    assert headers["x-forwarded-proto"] == "http"
    assert _curl(node, certificate, url)["headers"]["x-forwarded-proto"] == "https"


def test_a_cookie_over_tls_works_in_frames_and_goes_nowhere_else(
    exposed: tuple[Any, str], certificate: Path
) -> None:
    node, _ = exposed
    (sandbox,) = Sandbox.list(url=node.url, api_key=node.api_key)
    signed = sandbox.expose(8001).signed_url()
    told = _curl(node, certificate, signed.url, "--head", "-H", "Accept: text/html", read=False)
    assert told.startswith("HTTP/2 303")
    (cookie,) = [line for line in told.splitlines() if line.startswith("set-cookie:")]
    for word in ("HttpOnly", "Secure", "SameSite=None", "Partitioned", "Path=/"):
        assert word in cookie
    assert "domain" not in cookie.lower()


def _curl(node: Any, certificate: Path, url: str, *words: str, read: bool = True) -> Any:
    host = url.removeprefix("https://").partition(":")[0]
    command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "30"]
    command += ["--resolve", f"{host}:{node.port}:127.0.0.1"]
    command += ["--cacert", str(certificate / "cert.pem"), *words, url]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    return json.loads(said) if read else said.decode()
