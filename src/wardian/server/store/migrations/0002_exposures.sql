CREATE TABLE exposures (
    sandbox TEXT NOT NULL,
    port BIGINT NOT NULL,
    name TEXT,
    visibility TEXT NOT NULL,
    host_header TEXT NOT NULL,
    secrets TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (sandbox, port),
    FOREIGN KEY (sandbox) REFERENCES sandboxes (id) ON DELETE CASCADE
);
