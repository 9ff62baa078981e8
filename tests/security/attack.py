"""Runs attack programs inside a sandbox."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wardian import Sandbox

_PROGRAMS = Path(__file__).parent / "attacks"
_INSIDE = "/tmp/attacks"


def put(sandbox: Sandbox, name: str) -> str:
    """Copies a program of ``attacks/`` into a sandbox; returns its path there."""
    path = f"{_INSIDE}/{name}"
    sandbox.files.write(path, (_PROGRAMS / name).read_bytes())
    return path


@contextlib.contextmanager
def serving(sandbox: Sandbox, command: list[str]) -> Iterator[None]:
    """Runs a server as root inside; entered once it has said that it is ready."""
    server = sandbox.spawn(command, user="root", stdin=False)
    try:
        said = next(iter(server)).text
        assert said.startswith("ready"), said
        yield
    finally:
        server.kill()


def run(sandbox: Sandbox, name: str, *arguments: str, user: str = "root") -> Any:
    """Runs a Python program of ``attacks/`` inside; returns the JSON it prints.

    Raises:
        CommandFailed: the program itself broke, so it showed nothing.
    """
    path = put(sandbox, name)
    sandbox.run(["chmod", "-R", "a+rX", _INSIDE], user="root", check=True)
    result = sandbox.run(
        ["python3", path, *arguments], user=user, cwd="/tmp", timeout=100, check=True
    )
    return json.loads(result.stdout)


def token_of(sandbox: Sandbox) -> str:
    """The token that opens a sandbox's agent."""
    access = sandbox.info().agent
    assert access is not None
    return access.token
