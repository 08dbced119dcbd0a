-- A task may be a queue: its items wait here, and a run is made for one (or a batch) of them when
-- an agent takes it. A run that waits for its next attempt has a time at which that is due, which
-- a run of a fan-out never has.

ALTER TABLE tasks ADD COLUMN mode TEXT NOT NULL DEFAULT 'fan_out';
ALTER TABLE tasks ADD COLUMN open BOOLEAN NOT NULL DEFAULT FALSE;
DROP INDEX tasks_expiring;
CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE waiting > 0 OR open;

ALTER TABLE runs ADD COLUMN due_at DOUBLE PRECISION;
ALTER TABLE runs ADD COLUMN tries BIGINT NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN failed_items TEXT NOT NULL DEFAULT '[]';
DROP INDEX runs_waiting;
CREATE INDEX runs_waiting ON runs (agent, priority DESC, task_seq, seq)
    WHERE state = 'WAITING' AND due_at IS NULL;
CREATE INDEX runs_due ON runs (task_seq, due_at, seq)
    WHERE state = 'WAITING' AND due_at IS NOT NULL;

CREATE TABLE queues (
    id TEXT PRIMARY KEY REFERENCES tasks (id),
    task_seq BIGINT NOT NULL UNIQUE REFERENCES tasks (seq),
    name TEXT NOT NULL,
    batch BIGINT NOT NULL,
    rate DOUBLE PRECISION,
    burst BIGINT NOT NULL,
    tokens DOUBLE PRECISION NOT NULL,
    tokens_at DOUBLE PRECISION NOT NULL,
    per_agent BIGINT NOT NULL,
    agents_max BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    retry_pause DOUBLE PRECISION NOT NULL,
    retry_codes TEXT,
    items BIGINT NOT NULL,
    taken BIGINT NOT NULL,
    retry_at DOUBLE PRECISION,
    rest TEXT,
    rest_reason TEXT NOT NULL,
    slowest TEXT NOT NULL,
    row_version BIGINT NOT NULL
);

-- One row a run to be: the text of its item, or the lines of a batch and how many they are.
CREATE TABLE items (
    task_seq BIGINT NOT NULL REFERENCES tasks (seq),
    seq BIGINT NOT NULL,
    items BIGINT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (task_seq, seq)
);

-- How much of each upload is here, so that a part may be sent again.
CREATE TABLE item_uploads (
    task_seq BIGINT NOT NULL REFERENCES tasks (seq),
    upload TEXT NOT NULL,
    accepted BIGINT NOT NULL,
    PRIMARY KEY (task_seq, upload)
);

-- Attempts that came to an end and were followed by another; the last one is in the run's row.
CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (id),
    task TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    agent TEXT NOT NULL REFERENCES agents (id),
    hostname TEXT NOT NULL,
    granted_no BIGINT NOT NULL,
    instance TEXT NOT NULL,
    start_by DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    told BOOLEAN NOT NULL,
    code BIGINT,
    started_at DOUBLE PRECISION,
    ended_at DOUBLE PRECISION,
    output_bytes BIGINT NOT NULL,
    output_stored BIGINT NOT NULL,
    output_sha256 TEXT,
    output_gap TEXT,
    row_version BIGINT NOT NULL
);
CREATE INDEX attempts_of_run ON attempts (run, attempt);
CREATE INDEX attempts_of_agent ON attempts (agent, granted_no);
