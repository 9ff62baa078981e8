"""Ctrl-C stops the server, not the sandboxes; the next server finds them again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from wardian import Sandbox
from wardian.server.node.home import run_directory

from .host import alive, processes
from .waiting import until


@pytest.fixture
def home(start_node: Any) -> Iterator[Path]:
    """A home that two servers use one after the other."""
    directory = Path(f"/var/lib/wardian-test-{secrets.token_hex(4)}")
    yield directory
    assert str(directory) not in Path("/proc/self/mountinfo").read_text(), "unmounted at the end"
    shutil.rmtree(directory)
    shutil.rmtree(run_directory(directory))


def test_a_stopped_server_leaves_sandboxes_running_for_the_next(home: Path) -> None:
    with _serving(home) as server:
        sandbox = Sandbox.create("minimal", timeout=600, **server)
        counter = "while :; do n=$((n+1)); echo $n > /count.new; mv /count.new /count; done"
        pid = sandbox.spawn(counter).pid
        until(lambda: sandbox.files.read("/count"), "the counter")
    insiders = [each for each in processes() if each.arguments[-1] == counter]
    assert len(insiders) == 1, "it runs though nobody serves it"

    with _serving(home) as server:
        found = until(lambda: Sandbox.get(sandbox.id, **server), "the next server")
        assert [each.pid for each in found.processes()] == [pid]
        count = int(found.files.read("/count"))
        until(lambda: int(found.files.read("/count")) > count, "counting goes on")
        found.kill()
        assert alive(insiders) == []


def test_a_second_server_on_the_same_home_is_refused(home: Path) -> None:
    with _serving(home):
        second = subprocess.run(
            _command(home, _free_port()), capture_output=True, timeout=100, text=True
        )
        assert second.returncode == 1
        assert "already" in second.stderr


@contextmanager
def _serving(home: Path) -> Iterator[dict[str, str]]:
    port = _free_port()
    environment = {**os.environ, "WARDIAN_POOL_SIZE": "2G"}
    server = subprocess.Popen(
        _command(home, port), env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            assert server.poll() is None, server.stderr and server.stderr.read()
            key = {"Authorization": f"Bearer {(home / 'api-key').read_text().strip()}"}
            templates = httpx.get(f"{url}/v1/templates", headers=key, trust_env=False).json()
            return "minimal" in [each["name"] for each in templates["templates"]]

        until(ready, "the server", bound=100)
        yield {"url": url, "api_key": (home / "api-key").read_text().strip()}
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
    assert server.returncode == 0


def _command(home: Path, port: int) -> list[str]:
    command = [sys.executable, "-m", "wardian.cli", "serve", "--home", str(home)]
    return [*command, "--listen", f"127.0.0.1:{port}", "--template", "minimal"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
