"""A real object store on loopback: versitygw, built once by ``go install`` into the cache.

``python tests/integration/s3_gateway.py`` builds it, for set-up.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

VERSION = "v1.8.0"
_MODULE = "github.com/versity/versitygw/cmd/versitygw"
REGION = "eu-central-1"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running store.

    Attributes:
        address: ``host:port`` that it serves HTTP on.
        root: Its buckets, each a directory.
        access_key: Id of the one pair of keys it knows.
        secret_key: The other half.
    """

    address: str
    root: Path
    access_key: str
    secret_key: str = field(repr=False)


def program() -> Path:
    """The server, built if it is not there.

    Raises:
        FileNotFoundError: There is no Go to build it with.
        subprocess.CalledProcessError: Go can't build it; it has said why.
    """
    cache = Path(os.environ.get("WARDIAN_CACHE") or "/var/cache/wardian")
    target = cache / "go" / f"versitygw-{VERSION}"
    if not (target / "versitygw").exists():
        if shutil.which("go") is None:
            raise FileNotFoundError("versitygw is built with Go, which is not installed")
        target.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOBIN": str(target)}
        install = ["go", "install", f"{_MODULE}@{VERSION}"]
        subprocess.run(install, check=True, env=environment, stdout=sys.stderr)
    return target / "versitygw"


@contextmanager
def running(
    directory: Path, access_key: str, secret_key: str, certificate: bytes | None = None
) -> Generator[Gateway]:
    """Runs one with its data below ``directory``, for one pair of keys.

    Args:
        certificate: PEM of a certificate and its key; it serves over TLS then.
    """
    from .waiting import until

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = directory / "buckets"
    root.mkdir()
    keys = {"ROOT_ACCESS_KEY_ID": access_key, "ROOT_SECRET_ACCESS_KEY": secret_key}
    # Metadata in files of their own: not every file system has extended attributes.
    command = [str(program()), "--port", f"127.0.0.1:{port}", "--region", REGION]
    if certificate is not None:
        (directory / "server.pem").write_bytes(certificate)
        command += ["--cert", str(directory / "server.pem"), "--key", str(directory / "server.pem")]
    command += ["posix", "--sidecar", str(directory / "metadata"), str(root)]
    (directory / "metadata").mkdir()
    with (directory / "versitygw.log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **keys}, stdout=log, stderr=log)
        try:
            until(lambda: _listens(port), "the object store")
            yield Gateway(f"127.0.0.1:{port}", root, access_key, secret_key)
        finally:
            server.terminate()
            server.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    try:
        program()
    except FileNotFoundError as missing:
        print(f"{missing}: the tests with an object store will fail", file=sys.stderr)
