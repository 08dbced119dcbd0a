-- In the part of SQL that SQLite and PostgreSQL share. Times are UNIX seconds.
-- `version` counts the changes of a row: every update says which version it was decided on.

CREATE TABLE migrations (
    number BIGINT PRIMARY KEY
);

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    hostname TEXT NOT NULL,
    ip TEXT NOT NULL,
    labels TEXT NOT NULL,
    facts TEXT NOT NULL,
    version TEXT NOT NULL,
    machine TEXT NOT NULL,
    instance TEXT NOT NULL,
    past_instances TEXT NOT NULL,
    slots BIGINT NOT NULL,
    standing TEXT NOT NULL,
    granted BIGINT NOT NULL,
    acked BIGINT NOT NULL,
    registered_at DOUBLE PRECISION NOT NULL,
    last_seen DOUBLE PRECISION NOT NULL,
    row_version BIGINT NOT NULL
);
CREATE INDEX agents_by_hostname ON agents (hostname, id);
CREATE INDEX agents_behind ON agents (id) WHERE granted > acked;

CREATE TABLE scripts (
    sha256 TEXT PRIMARY KEY,
    content BLOB NOT NULL
);

CREATE TABLE tasks (
    id TEXT PRIMARY KEY,
    seq BIGINT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    stop TEXT,
    created_by TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION,
    ended_at DOUBLE PRECISION,
    parallel BIGINT NOT NULL,
    fail_count BIGINT,
    fail_rate DOUBLE PRECISION,
    on_limit TEXT NOT NULL,
    priority BIGINT NOT NULL,
    offline TEXT NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    lost_after DOUBLE PRECISION NOT NULL,
    total BIGINT NOT NULL,
    waiting BIGINT NOT NULL,
    running BIGINT NOT NULL,
    succeed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    timeout BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    settings TEXT NOT NULL,
    script TEXT NOT NULL REFERENCES scripts (sha256),
    row_version BIGINT NOT NULL
);
CREATE INDEX tasks_by_state ON tasks (state, seq);
CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE waiting > 0;
CREATE INDEX tasks_running ON tasks (seq) WHERE running > 0;

-- task_seq repeats the task's seq and priority its priority, so that a claim walks one index.
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    task TEXT NOT NULL,
    seq BIGINT NOT NULL,
    agent TEXT NOT NULL REFERENCES agents (id),
    hostname TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    want TEXT,
    granted_no BIGINT,
    instance TEXT,
    start_by DOUBLE PRECISION NOT NULL,
    settled BOOLEAN NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    priority BIGINT NOT NULL,
    task_seq BIGINT NOT NULL REFERENCES tasks (seq),
    started_at DOUBLE PRECISION,
    ended_at DOUBLE PRECISION,
    granted_at DOUBLE PRECISION,
    code BIGINT,
    killed BOOLEAN NOT NULL,
    survivors TEXT NOT NULL,
    left_running BIGINT NOT NULL,
    output_bytes BIGINT NOT NULL,
    output_stored BIGINT NOT NULL,
    output_sha256 TEXT,
    output_gap TEXT,
    row_version BIGINT NOT NULL
);
CREATE UNIQUE INDEX runs_of_task ON runs (task_seq, seq);
CREATE INDEX runs_by_state ON runs (task_seq, state, seq);
CREATE INDEX runs_waiting ON runs (agent, priority DESC, task_seq, seq) WHERE state = 'WAITING';
CREATE INDEX runs_open ON runs (agent, granted_no)
    WHERE state = 'RUNNING' OR (state = 'UNKNOWN' AND NOT settled);
CREATE UNIQUE INDEX runs_granted ON runs (agent, granted_no) WHERE granted_no IS NOT NULL;

-- The verdicts that evidence has replaced; the one that holds is in the run's row.
CREATE TABLE run_history (
    run TEXT NOT NULL REFERENCES runs (id),
    attempt BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    replaced_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX run_history_of_run ON run_history (run, at);

-- Output in chunks as they came: growing one value would copy it at each chunk.
CREATE TABLE outputs (
    run TEXT NOT NULL REFERENCES runs (id),
    attempt BIGINT NOT NULL,
    start_at BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (run, attempt, start_at)
);

CREATE TABLE idempotency_keys (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    task TEXT NOT NULL REFERENCES tasks (id),
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_keys_of_task ON idempotency_keys (task);

-- Secrets are kept as SHA-256 only: they are random and long, so no salt is needed.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    label TEXT NOT NULL,
    labels TEXT NOT NULL,
    uses_left BIGINT,
    created_at DOUBLE PRECISION NOT NULL,
    revoked_at DOUBLE PRECISION
);

CREATE TABLE peers (
    key TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    label TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    revoked_at DOUBLE PRECISION
);
