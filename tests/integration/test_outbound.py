"""Nothing gets out of a sandbox, and whatever tries is told so at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from security.network import world

from wardian import Sandbox

REACH_OUT = (Path(__file__).parent / "programs" / "reach_out.py").read_text()


@pytest.fixture(scope="module")
def shut_in(start_node: Any) -> Iterator[Sandbox]:
    """A sandbox of a node whose network leads to a double: a hole would reach nothing real."""
    with world() as outside, outside.node.entered(), start_node(templates=("base",)) as node:
        server = {"url": node.url, "api_key": node.api_key}
        # Set-up has asked where the names of registries lead.
        outside.packets.clear()
        with Sandbox.create("base", timeout=600, **server) as sandbox:
            yield sandbox
        assert outside.packets == []


def test_connections_are_refused_and_names_unknown(shut_in: Sandbox) -> None:
    shut_in.files.write("/tmp/reach_out.py", REACH_OUT)
    found: dict[str, str] = json.loads(shut_in.run("python3 /tmp/reach_out.py", check=True).stdout)
    for target, what in found.items():
        if target.startswith("name"):
            assert what == "gaierror", target
        elif target == "tcp6":
            assert what in ("ConnectionRefusedError", "OSError"), what
        elif target.startswith("tcp") and "127.0.0.1" not in target:
            # Taken, looked at and dropped; refused, where nobody is there yet to look at it.
            assert what in ("ConnectionResetError", "ConnectionRefusedError"), (target, what)
        else:
            assert what == "ConnectionRefusedError", (target, what)


@pytest.mark.parametrize(
    "command",
    [
        "curl -sS http://198.51.100.7/",
        "curl -sS https://example.com/",
        "git clone https://example.com/x.git",
        "pip download --retries 0 attrs",
        "sudo -n apt-get -o Acquire::Retries=0 update -o APT::Update::Error-Mode=any",
    ],
    ids=lambda command: command.split(" -")[0],
)
def test_tools_fail_instead_of_hanging(shut_in: Sandbox, command: str) -> None:
    result = shut_in.run(command, timeout=60)
    assert result.exit_code not in (-1, 0, 127), result


def test_the_loopback_inside_works(shut_in: Sandbox) -> None:
    server = shut_in.spawn(["python3", "-m", "http.server", "--bind", "127.0.0.1", "8123"])
    fetch = "until curl -sf http://localhost:8123/ -o /tmp/page; do sleep 0.05; done; cat /tmp/page"
    assert "Directory listing" in shut_in.run(fetch, timeout=60).stdout
    server.kill()
