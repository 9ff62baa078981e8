ALTER TABLE sandboxes ADD COLUMN egress TEXT;
ALTER TABLE templates ADD COLUMN egress TEXT;
CREATE TABLE secrets (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    hosts TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE TABLE authorities (
    instance TEXT NOT NULL PRIMARY KEY,
    certificate TEXT NOT NULL,
    private_key TEXT NOT NULL
);
CREATE TABLE egress_events (
    number BIGINT NOT NULL PRIMARY KEY,
    sandbox TEXT NOT NULL,
    kind TEXT NOT NULL,
    verdict TEXT NOT NULL,
    host TEXT NOT NULL,
    event TEXT NOT NULL
);
CREATE INDEX egress_events_order ON egress_events (sandbox, number);
CREATE TABLE egress_traffic (
    sandbox TEXT NOT NULL PRIMARY KEY,
    bytes_sent BIGINT NOT NULL,
    bytes_received BIGINT NOT NULL
);
