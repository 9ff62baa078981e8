"""The variables that all commands of a sandbox get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wardian.server.errors import InvalidRequest
from wardian.server.sandboxes.records import SandboxRecord, Secrets

MOST_NAMES = 512
MOST_BYTES = 256 * 1024


def size(env: Mapping[str, str]) -> int:
    """What an environment takes, in bytes."""
    return sum(len(name) + len(value.encode()) + 2 for name, value in env.items())


def merged(record: SandboxRecord, changes: Mapping[str, str | None]) -> Secrets:
    """A record's secrets with changes of its environment; ``None`` takes a variable away.

    Raises:
        InvalidRequest: it would have too many names, or too many bytes.
    """
    env = dict(record.secrets.env)
    for name, value in changes.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return with_env(record.secrets, env)


def with_env(secrets: Secrets, env: dict[str, str]) -> Secrets:
    """Secrets with another environment.

    Raises:
        InvalidRequest: it has too many names, or too many bytes.
    """
    if len(env) > MOST_NAMES:
        raise InvalidRequest(f"env: {len(env)} names in all, at most {MOST_NAMES} are possible")
    if (total := size(env)) > MOST_BYTES:
        raise InvalidRequest(f"env: {total} bytes in all, at most {MOST_BYTES} are possible")
    return replace(secrets, env=env)
