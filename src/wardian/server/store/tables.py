"""The tables as they are after the last migration.

Times are milliseconds since the epoch; structured values are JSON text, so that SQLite and
PostgreSQL hold the same.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

metadata = MetaData()

sandboxes = Table(
    "sandboxes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("template", Text, nullable=False),
    Column("isolation", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("layers", Text, nullable=False),
    Column("cpu_millis", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("disk_bytes", BigInteger, nullable=False),
    Column("pids", BigInteger, nullable=False),
    Column("default_user", Text, nullable=False),
    Column("workdir", Text),
    # Agent token, traffic token and environment, encrypted together.
    Column("secrets", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("ending", Text),
    Column("usage", Text),
    # What was asked for and what the template gave; NULL: nothing.
    Column("egress", Text),
    Index("sandboxes_order", "tenant", "created_at", "id"),
    Index("sandboxes_state", "state"),
    # A name is taken only as long as its sandbox has not ended.
    Index(
        "sandboxes_live_name",
        "tenant",
        "name",
        unique=True,
        sqlite_where=text("state <> 'ended'"),
        postgresql_where=text("state <> 'ended'"),
    ),
)

sandbox_labels = Table(
    "sandbox_labels",
    metadata,
    Column("sandbox", Text, ForeignKey("sandboxes.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("sandbox_labels_lookup", "key", "value"),
)

exposures = Table(
    "exposures",
    metadata,
    Column("sandbox", Text, ForeignKey("sandboxes.id", ondelete="CASCADE"), primary_key=True),
    Column("port", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text),
    Column("visibility", Text, nullable=False),
    Column("host_header", Text, nullable=False),
    # Token and signing key, encrypted together.
    Column("secrets", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("sandbox", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("idempotency_sandbox", "sandbox"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Deleted keys stay, so that the first key of set-up is not imported again.
    Column("deleted_at", BigInteger),
    Index("keys_hash", "hash", unique=True),
)

templates = Table(
    "templates",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tenant", Text),
    Column("layers", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("default_user", Text, nullable=False),
    Column("workdir", Text),
    Column("env", Text, nullable=False),
    Column("start_command", Text),
    Column("source", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("egress", Text),
)

secrets = Table(
    "secrets",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("hosts", Text, nullable=False),
    # Encrypted.
    Column("value", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

authorities = Table(
    "authorities",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("certificate", Text, nullable=False),
    # Encrypted.
    Column("private_key", Text, nullable=False),
)

egress_events = Table(
    "egress_events",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # No reference: what was seen of a sandbox is kept whatever becomes of its record.
    Column("sandbox", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("event", Text, nullable=False),
    Index("egress_events_order", "sandbox", "number"),
)

egress_traffic = Table(
    "egress_traffic",
    metadata,
    Column("sandbox", Text, primary_key=True),
    Column("bytes_sent", BigInteger, nullable=False),
    Column("bytes_received", BigInteger, nullable=False),
)

migrations = Table(
    "migrations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", BigInteger, nullable=False),
)
