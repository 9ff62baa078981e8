"""What the control plane says about letting others in."""

from __future__ import annotations

from datetime import datetime

import msgspec


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
