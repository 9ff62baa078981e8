"""Records as the native API shows them."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, UnsetType

from wardian.server.api import models
from wardian.server.egress.model import masked
from wardian.server.keys.model import SCOPES, ApiKey
from wardian.server.node.protocol import AGENT_PORT, Usage
from wardian.server.sandboxes.records import MEBIBYTE, SandboxRecord
from wardian.server.templates.model import Template


def timestamp(moment: int) -> str:
    """Milliseconds since the epoch as RFC 3339, UTC."""
    seconds, milliseconds = divmod(moment, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def _optional(moment: int | None) -> str | None:
    return None if moment is None else timestamp(moment)


def sandbox(record: SandboxRecord, domain: str, key: ApiKey) -> models.Sandbox:
    """A sandbox; its tokens are shown only to a key that may use it."""
    usable = key.may("sandboxes")
    limits = record.limits
    return models.Sandbox(
        id=record.id,
        name=record.name,
        state=record.state.value,
        reason=record.reason,
        template=record.template,
        isolation=record.isolation,
        labels=record.labels,
        created_at=timestamp(record.created_at),
        started_at=_optional(record.started_at),
        expires_at=_optional(record.expires_at),
        ended_at=_optional(record.ended_at),
        limits=models.SandboxLimits(
            cpu=limits.cpu_millis / 1000,
            memory_mb=limits.memory_bytes // MEBIBYTE,
            disk_mb=limits.disk_bytes // MEBIBYTE,
            pids=limits.pids,
        ),
        user=record.user,
        workdir=record.workdir,
        traffic="public" if record.secrets.traffic_token is None else "private",
        agent=models.AgentAccess(record.secrets.agent_token if usable else None, AGENT_PORT),
        traffic_token=record.secrets.traffic_token if usable else None,
        domain=domain,
    )


def usage(used: Usage, sent: int, received: int) -> models.SandboxUsage:
    """What a sandbox uses, and the bytes that went out of it and came back."""
    return models.SandboxUsage(
        cpu_seconds=used.cpu_usec / 1_000_000,
        memory_bytes=used.memory_bytes,
        memory_peak_bytes=used.memory_peak_bytes,
        pids=used.pids,
        disk_bytes=used.disk_bytes,
        oom_kills=used.oom_kills,
        egress_bytes_sent=sent,
        egress_bytes_received=received,
    )


def key(api_key: ApiKey, text: str | UnsetType = UNSET) -> models.Key:
    """A key; ``text`` only in the answer to its making."""
    return models.Key(
        id=api_key.id,
        name=api_key.name,
        scopes=[scope for scope in SCOPES if scope in api_key.scopes],
        created_at=timestamp(api_key.created_at),
        key=text,
    )


def template(stored: Template, key: ApiKey) -> models.TemplateView:
    """A template; what its rules put into requests is shown only to a key that may change it."""
    egress = stored.egress
    if egress is not None and not key.may("templates"):
        rules = [masked(rule) for rule in egress.rules]
        egress = msgspec.structs.replace(egress, rules=rules)
    return models.TemplateView(
        name=stored.name,
        layers=list(stored.layers),
        size_bytes=stored.size_bytes,
        user=stored.user,
        workdir=stored.workdir,
        env=stored.env,
        start_command=stored.start_command,
        created_at=timestamp(int(stored.created_at.timestamp() * 1000)),
        source=stored.source,
        egress=egress,
    )
