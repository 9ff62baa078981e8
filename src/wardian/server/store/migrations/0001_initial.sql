CREATE TABLE sandboxes (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT,
    state TEXT NOT NULL,
    reason TEXT,
    template TEXT NOT NULL,
    isolation TEXT NOT NULL,
    labels TEXT NOT NULL,
    layers TEXT NOT NULL,
    cpu_millis BIGINT NOT NULL,
    memory_bytes BIGINT NOT NULL,
    disk_bytes BIGINT NOT NULL,
    pids BIGINT NOT NULL,
    default_user TEXT NOT NULL,
    workdir TEXT,
    secrets TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    expires_at BIGINT,
    ended_at BIGINT,
    ending TEXT,
    usage TEXT
);
CREATE INDEX sandboxes_order ON sandboxes (tenant, created_at, id);
CREATE INDEX sandboxes_state ON sandboxes (state);
CREATE UNIQUE INDEX sandboxes_live_name ON sandboxes (tenant, name) WHERE state <> 'ended';

CREATE TABLE sandbox_labels (
    sandbox TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (sandbox, key),
    FOREIGN KEY (sandbox) REFERENCES sandboxes (id) ON DELETE CASCADE
);
CREATE INDEX sandbox_labels_lookup ON sandbox_labels (key, value);

CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    sandbox TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX idempotency_sandbox ON idempotency (sandbox);

CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX keys_hash ON keys (hash);

CREATE TABLE templates (
    name TEXT NOT NULL PRIMARY KEY,
    tenant TEXT,
    layers TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    default_user TEXT NOT NULL,
    workdir TEXT,
    env TEXT NOT NULL,
    start_command TEXT,
    source TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
