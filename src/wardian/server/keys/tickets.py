"""Tickets: a key's leave for one service of one sandbox, for where no header can be sent.

A ticket is what it says and a MAC over that; nothing is stored. It dies with its time, with its
sandbox and with the key it was made with.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec
from msgspec import Struct

from wardian.server.errors import TicketInvalid
from wardian.server.keys.keyring import Keyring
from wardian.server.sandboxes.records import now_ms

_MAC_BYTES = 32
_HOW = "ask for a new one: POST /v1/sandboxes/{sandbox}/tickets"


class Ticket(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a ticket is good for.

    Args:
        key: id of the key it was made with.
        path: what follows the service in the address; empty: anything.
        expires_at: milliseconds since the epoch, UTC.
    """

    tenant: str
    key: str
    sandbox: str
    service: str
    path: str
    expires_at: int

    def covers(self, service: str, path: str) -> bool:
        """Whether it is good for a path of a service: its own, or one below.

        Both are compared as they are written: what is spelled otherwise is not covered.
        """
        below = not self.path or path == self.path or path.startswith(self.path + "/")
        return service == self.service and below


class TicketOffice:
    """Makes and checks tickets.

    Args:
        secret: what the MAC is made with.
        keyring: knows which keys still live.
    """

    def __init__(self, secret: bytes, keyring: Keyring) -> None:
        self._secret = secret
        self._keyring = keyring
        self._decode = msgspec.json.Decoder(Ticket).decode

    def renew(self, secret: bytes) -> None:
        """Goes on with another secret: all tickets made until now are void."""
        self._secret = secret

    def issue(self, ticket: Ticket) -> str:
        """The ticket as text that may stand in a query without encoding."""
        content = msgspec.json.encode(ticket)
        return base64.urlsafe_b64encode(self._mac(content) + content).rstrip(b"=").decode()

    async def check(self, text: str) -> Ticket:
        """What a ticket is good for.

        Raises:
            TicketInvalid: it was not made here, is over, or its key was deleted.
        """
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise TicketInvalid("the ticket has not the form of one", _HOW) from error
        mac, content = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(content)):
            raise TicketInvalid("the ticket was not made by this node", _HOW)
        ticket = self._decode(content)
        if ticket.expires_at <= now_ms():
            raise TicketInvalid("the ticket has expired", _HOW)
        if await self._keyring.find(ticket.tenant, ticket.key) is None:
            raise TicketInvalid("the key this ticket was made with was deleted", _HOW)
        return ticket

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, content, hashlib.sha256)
