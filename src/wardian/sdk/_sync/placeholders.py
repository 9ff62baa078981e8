# Generated from _async/placeholders.py by tools/generate_sync.py: change it there.
"""What a sandbox holds in place of secrets."""

from __future__ import annotations

from collections.abc import Mapping

from .._credentials import Secret
from .secret_calls import SecretCalls

Environment = Mapping[str, str | Secret]


class Placeholders:
    """What one sandbox holds in place of secrets, asked for once each.

    Args:
        client: Whom to ask.
        sandbox: The sandbox's id.
    """

    def __init__(self, client: SecretCalls, sandbox: str) -> None:
        self._client = client
        self._sandbox = sandbox
        self._known: dict[str, str] = {}

    def in_place(self, env: Environment | None) -> dict[str, str] | None:
        """Variables with placeholders where secrets were named; None if there are none.

        Raises:
            SecretNotFound: There is no secret of that name.
        """
        if not env:
            return None
        wanted = {value.name for value in env.values() if isinstance(value, Secret)}
        for name in sorted(wanted - self._known.keys()):
            self._known[name] = self._client.placeholder(self._sandbox, name)
        return {
            name: self._known[value.name] if isinstance(value, Secret) else value
            for name, value in env.items()
        }
