"""Tickets for private exposures; the edge checks them (``crates/wire/src/preview.rs``)."""

from __future__ import annotations

import hashlib
import hmac

PARAMETER = "wardian_ticket"


def ticket(signing: str, sandbox: str, port: int, expires: int) -> str:
    """A ticket that is good until ``expires``, in seconds since the epoch."""
    content = f"wardian-preview\nticket\n{sandbox}\n{port}\n{expires}"
    mac = hmac.digest(signing.encode(), content.encode(), hashlib.sha256)
    return f"{expires}.{mac.hex()}"
