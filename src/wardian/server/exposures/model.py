"""What an exposure is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wardian.server.node import edge_messages

Visibility = Literal["public", "private"]
HostHeader = Literal["preserve", "localhost"]

AUTO = "auto"
MOST_PER_SANDBOX = 64


@dataclass(frozen=True, slots=True)
class ExposureSecrets:
    """What is kept encrypted.

    Args:
        token: the last part of the address.
        signing: what tickets and cookies are signed with.
    """

    token: str = field(repr=False)
    signing: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exposure:
    """One port of one sandbox; ``created_at`` in milliseconds since the epoch, UTC."""

    sandbox: str
    port: int
    name: str | None
    visibility: Visibility
    host_header: HostHeader
    secrets: ExposureSecrets
    created_at: int

    def rule(self) -> edge_messages.Exposure:
        """What the edge is told of it."""
        return edge_messages.Exposure(
            port=self.port,
            token=self.secrets.token,
            visibility=self.visibility,
            host_header=self.host_header,
            secret=self.secrets.signing,
        )


@dataclass(frozen=True, slots=True)
class WantedExposure:
    """What a caller wants; ``token``: ``AUTO`` keeps the one there is, or makes one."""

    port: int
    name: str | None = None
    token: str = field(default=AUTO, repr=False)
    visibility: Visibility = "private"
    host_header: HostHeader = "preserve"
