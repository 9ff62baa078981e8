"""Sandbox records as rows and back."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from sqlalchemy import Row

from wardian.server.egress.model import Egress, StoredEgress
from wardian.server.node.protocol import Usage
from wardian.server.sandboxes.records import Limits, SandboxRecord, Secrets, State
from wardian.server.store.sealing import Sealer

log = logging.getLogger(__name__)

_NOTHING = StoredEgress()

_labels = msgspec.json.Decoder(dict[str, str])
_layers = msgspec.json.Decoder(tuple[str, ...])
_secrets = msgspec.json.Decoder(Secrets)
_usage = msgspec.json.Decoder(Usage)
_egress = msgspec.json.Decoder(StoredEgress)


def to_text(value: Any) -> str:
    """JSON for a text column."""
    return msgspec.json.encode(value).decode()


def seal(record: SandboxRecord, sealer: Sealer) -> str:
    """A record's secrets, encrypted."""
    return sealer.seal(msgspec.json.encode(record.secrets), record.id)


def to_row(record: SandboxRecord, sealer: Sealer) -> dict[str, object]:
    """The column values of a record."""
    return {
        "id": record.id,
        "tenant": record.tenant,
        "name": record.name,
        "state": record.state.value,
        "reason": record.reason,
        "template": record.template,
        "isolation": record.isolation,
        "labels": to_text(record.labels),
        "layers": to_text(record.layers),
        "cpu_millis": record.limits.cpu_millis,
        "memory_bytes": record.limits.memory_bytes,
        "disk_bytes": record.limits.disk_bytes,
        "pids": record.limits.pids,
        "default_user": record.user,
        "workdir": record.workdir,
        "secrets": seal(record, sealer),
        "created_at": record.created_at,
        "started_at": record.started_at,
        "expires_at": record.expires_at,
        "ended_at": record.ended_at,
        "ending": record.ending,
        "usage": None if record.usage is None else to_text(record.usage),
        "egress": egress_text(record),
    }


def egress_text(record: SandboxRecord) -> str | None:
    """A record's egress as it is kept; nothing of it is secret."""
    return None if record.egress == _NOTHING else to_text(record.egress)


def from_row(row: Row[Any], sealer: Sealer) -> SandboxRecord:
    """The record a row holds.

    Raises:
        WardianError: its secrets can't be decrypted.
    """
    return SandboxRecord(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        state=State(row.state),
        reason=row.reason,
        template=row.template,
        isolation=row.isolation,
        labels=_labels.decode(row.labels),
        layers=_layers.decode(row.layers),
        limits=Limits(
            cpu_millis=row.cpu_millis,
            memory_bytes=row.memory_bytes,
            disk_bytes=row.disk_bytes,
            pids=row.pids,
        ),
        user=row.default_user,
        workdir=row.workdir,
        secrets=_secrets.decode(sealer.open(row.secrets, row.id)),
        created_at=row.created_at,
        started_at=row.started_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        ending=row.ending,
        usage=None if row.usage is None else _usage.decode(row.usage),
        egress=_NOTHING if row.egress is None else _read_egress(row.id, row.egress),
    )


def _read_egress(sandbox: str, text: str) -> StoredEgress:
    try:
        return _egress.decode(text)
    except msgspec.MsgspecError as error:
        # Rules of another version: what can't be read lets nothing out, and keeps nobody else.
        log.error("egress rules can't be read", extra={"sandbox": sandbox, "cause": str(error)})
        return StoredEgress(own=Egress(template=False))
