"""A PostgreSQL server of our own: made for the tests, on a Unix socket, and removed with them."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg


def binaries() -> Path | None:
    """Where ``initdb`` lies, or ``None`` when PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).parent if elsewhere else None


@contextmanager
def cluster(binaries: Path) -> Generator[Path]:
    """Runs a server; gives the directory of its socket, where user ``postgres`` needs no word."""
    as_root = os.getuid() == 0
    # Not below pytest's directory: user postgres must be able to walk there.
    directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if as_root:
        os.chown(directory, pwd.getpwnam("postgres").pw_uid, -1)

    def run(program: str, *arguments: str) -> None:
        command = [str(binaries / program), *arguments]
        if as_root:
            command = [
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                *command,
            ]
        subprocess.run(command, check=True, capture_output=True, cwd=directory)

    data = str(directory / "data")
    settings = f"-c listen_addresses='' -c unix_socket_directories={directory} -c fsync=off"
    try:
        run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        run("pg_ctl", "-D", data, "-w", "-o", settings, "-l", f"{directory}/log", "start")
        try:
            yield directory
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory)


@asynccontextmanager
async def empty_database(socket: Path) -> AsyncGenerator[str]:
    """A database of its own for one test; gives its URL."""
    name = "test_" + secrets.token_hex(6)
    server = await asyncpg.connect(host=str(socket), user="postgres", database="postgres")
    await server.execute(f"CREATE DATABASE {name}")
    try:
        yield f"postgresql+asyncpg://postgres@/{name}?host={socket}"
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await server.close()
