"""What the control plane says about letting others in."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Visibility = Literal["public", "private"]
HostHeader = Literal["preserve", "localhost"]


class ExposureInfo(msgspec.Struct, frozen=True):
    """The control plane's record of an exposed port.

    Attributes:
        port: The port in the sandbox.
        name: The caller's own word for it.
        token: The last part of the address; a secret. None for keys that may only read.
        visibility: `public` for whoever knows the address; `private` asks for a key or a signed
            address besides.
        host_header: What the server sees as `Host`: what the visitor sent, or `localhost:{port}`.
        url: The address.
    """

    port: int
    name: str | None
    token: str | None
    visibility: str
    host_header: str
    url: str | None
    created_at: datetime


class ExposureList(msgspec.Struct, frozen=True):
    """What is exposed of a sandbox."""

    exposures: list[ExposureInfo]


class SignedUrl(msgspec.Struct, frozen=True):
    """An address that lets its visitor into a private exposure.

    Attributes:
        url: The address; a secret.
        expires_at: When it stops working.
    """

    url: str
    expires_at: datetime

    def __str__(self) -> str:
        return self.url


class Ticket(msgspec.Struct, frozen=True):
    """Leave to use one service of one sandbox without a key.

    Attributes:
        ticket: Goes into the query as `ticket=`; a secret.
        url: The service's address with the ticket in it.
        expires_at: When it stops working.
    """

    ticket: str
    url: str
    expires_at: datetime

    @property
    def websocket_url(self) -> str:
        """The same address for a WebSocket."""
        return "ws" + self.url.removeprefix("http")

    def __repr__(self) -> str:
        return f"Ticket(…, expires_at={self.expires_at.isoformat()})"
