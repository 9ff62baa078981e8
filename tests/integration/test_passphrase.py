"""A node whose key of secrets is wrapped under a passphrase, as its operator starts it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wardian import Secrets
from wardian.server.node import accounts
from wardian.server.node.home import run_directory

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def passphrase() -> Iterator[Path]:
    """A file as it should be."""
    path = Path(f"/run/wardian-test-passphrase-{os.getpid()}")
    path.write_bytes(PASSPHRASE + b"\n")
    path.chmod(0o400)
    os.chown(path, accounts.ensure(lambda _: None).control_uid, -1)
    yield path
    path.unlink()


def test_a_node_starts_with_it_and_the_key_lies_nowhere(start_node: Any, passphrase: Path) -> None:
    arguments = ("--passphrase-file", str(passphrase))
    with start_node(templates=("minimal",), arguments=arguments) as node:
        secrets = Secrets(url=node.url, api_key=node.api_key)
        secrets.set("KEPT", "kept")
        assert [each.name for each in secrets.list()] == ["KEPT"]
        held = (node.home / "control" / "secret.key").read_bytes()
        assert held.startswith(b"wardian-wrapped-key-1\n")
        assert PASSPHRASE not in held + node.log()
        assert PASSPHRASE not in (node.home / "node.json").read_bytes()


def test_a_file_that_others_may_read_is_refused(node: Any, passphrase: Path) -> None:
    passphrase.chmod(0o444)
    home = Path(f"/var/lib/wardian-passphrase-{os.getpid()}")
    command = [sys.executable, "-m", "wardian.cli", "serve", "--home", str(home)]
    command += ["--listen", "127.0.0.1:1", "--passphrase-file", str(passphrase)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(run_directory(home), ignore_errors=True)
    assert done.returncode != 0
    assert "nobody else's to read" in done.stderr
    assert f"chmod 0400 {passphrase}" in done.stderr
