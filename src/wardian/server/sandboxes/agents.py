"""What the control plane itself tells the agents of running sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from wardian.server.errors import SandboxPaused, Unavailable
from wardian.server.node import agent_call, protocol
from wardian.server.node.agent_socket import SocketRefused, open_socket
from wardian.server.sandboxes.records import SandboxRecord, State

_DEADLINE = 5.0


class Agents:
    """The agents of running sandboxes.

    Args:
        launcher_socket: path of ``launcher.sock``, where connections into sandboxes come from.
    """

    def __init__(self, launcher_socket: Path) -> None:
        self._launcher_socket = launcher_socket

    async def change_env(self, record: SandboxRecord, changes: Mapping[str, str | None]) -> None:
        """Changes what commands get from now on; ``None`` takes a variable away.

        Raises:
            SandboxPaused: nothing in it can answer.
            Unavailable: its agent could not be reached, or did not take it.
        """
        await self._init(record, {"envVars": changes}, "environment")

    async def trust(self, record: SandboxRecord, certificates: str) -> None:
        """Has a sandbox trust more certificates; that it does already is no error.

        Args:
            record: of the sandbox.
            certificates: PEM.

        Raises:
            SandboxPaused, Unavailable: as above.
        """
        await self._init(record, {"caBundle": certificates}, "certificates")

    async def _init(self, record: SandboxRecord, message: dict[str, Any], what: str) -> None:
        if record.state in (State.PAUSED, State.ASLEEP):
            raise SandboxPaused(record.id)
        body = msgspec.json.encode(message)
        try:
            async with asyncio.timeout(_DEADLINE):
                socket = await open_socket(self._launcher_socket, record.id)
                status = await agent_call.post(
                    socket,
                    (protocol.SANDBOX_ADDRESS, protocol.AGENT_PORT),
                    "/init",
                    record.secrets.agent_token,
                    body,
                )
        except (OSError, EOFError, ValueError, SocketRefused) as error:
            raise Unavailable(
                f"the agent of sandbox {record.id} could not be told of its {what}",
                "try again",
            ) from error
        if status != 204:
            raise Unavailable(
                f"the agent of sandbox {record.id} did not take its {what} (HTTP {status})"
            )
