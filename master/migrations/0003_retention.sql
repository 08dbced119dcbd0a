-- Ended tasks are forgotten in time: the one that ended first before the others, in small steps.
-- A task in `purges` is no more for anybody, though some of its rows are still there.

CREATE TABLE purges (
    task_seq BIGINT PRIMARY KEY REFERENCES tasks (seq)
);
CREATE INDEX tasks_by_end ON tasks (ended_at, seq) WHERE ended_at IS NOT NULL;
CREATE INDEX tasks_by_script ON tasks (script);
CREATE INDEX runs_unsettled ON runs (task_seq, state, settled)
    WHERE state = 'UNKNOWN' AND NOT settled;

-- A key holds for a day at least, also when its task is gone by then (`orphan`): so it is not
-- bound to the task's row.
ALTER TABLE idempotency_keys RENAME TO bound_keys;
CREATE TABLE idempotency_keys (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    task TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    orphan BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (caller, key)
);
INSERT INTO idempotency_keys (caller, key, body_hash, task, created_at)
SELECT caller, key, body_hash, task, created_at FROM bound_keys;
DROP TABLE bound_keys;
CREATE INDEX idempotency_keys_of_task ON idempotency_keys (task);
CREATE INDEX idempotency_keys_orphan ON idempotency_keys (created_at) WHERE orphan;
