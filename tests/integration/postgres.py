"""A PostgreSQL cluster of the test's own, on a Unix socket and loopback."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cluster(certificate: bytes | None = None) -> Iterator[str]:
    """Runs one from Debian's package as user ``postgres``; yields its URL with the password.

    Args:
        certificate: PEM of one and of its key: then the server speaks TLS to who asks for it.
    """
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    directory = Path(tempfile.mkdtemp(prefix="wardian-postgres-", dir="/tmp"))
    password = secrets.token_hex(16)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        (directory / "password").write_text(password)
        shutil.chown(directory, "postgres", "postgres")
        shutil.chown(directory / "password", "postgres", "postgres")
        data = directory / "data"

        def run(*command: str) -> None:
            subprocess.run(
                command, check=True, user="postgres", group="postgres", extra_groups=[],
                cwd=directory, stdout=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin"},
            )  # fmt: skip

        run(f"{binaries}/initdb", "--pgdata", str(data), "--auth", "scram-sha-256",
            "--no-sync", "--pwfile", str(directory / "password"), "--encoding", "UTF8")  # fmt: skip
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off"
        options += f" -c unix_socket_directories={directory}"
        if certificate is not None:
            (directory / "tls.pem").touch(mode=0o600)
            (directory / "tls.pem").write_bytes(certificate)
            shutil.chown(directory / "tls.pem", "postgres", "postgres")
            options += f" -c ssl=on -c ssl_cert_file={directory}/tls.pem"
            options += f" -c ssl_key_file={directory}/tls.pem"
        control = (f"{binaries}/pg_ctl", "--pgdata", str(data), "--wait")
        run(*control, "start", "--log", str(directory / "log"), "--options", options)
        try:
            yield f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        finally:
            run(*control, "stop", "--mode", "immediate")
    finally:
        shutil.rmtree(directory)
