-- Schedules, and one row for each due instant that was decided: the primary key of `firings` is
-- what lets each be decided once, by however many processes. A schedule that is removed stays as
-- a row while firings tell of it.

CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    timing TEXT NOT NULL,
    task TEXT NOT NULL,
    overlap TEXT NOT NULL,
    misfire TEXT NOT NULL,
    misfire_most BIGINT NOT NULL,
    misfire_grace_s BIGINT NOT NULL,
    owner TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    edited_at DOUBLE PRECISION NOT NULL,
    paused_by TEXT,
    removed_at DOUBLE PRECISION,
    decided_until DOUBLE PRECISION NOT NULL,
    next_due BIGINT,
    next_at DOUBLE PRECISION,
    revision BIGINT NOT NULL,
    row_version BIGINT NOT NULL
);
CREATE UNIQUE INDEX schedules_by_name ON schedules (lower(name)) WHERE removed_at IS NULL;
CREATE INDEX schedules_next ON schedules (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_removed ON schedules (removed_at) WHERE removed_at IS NOT NULL;

-- `until_at`: the row stands for all due instants from due_at until then.
CREATE TABLE firings (
    schedule TEXT NOT NULL REFERENCES schedules (id),
    due_at DOUBLE PRECISION NOT NULL,
    until_at DOUBLE PRECISION,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    decided_at DOUBLE PRECISION NOT NULL,
    late_s DOUBLE PRECISION NOT NULL,
    task TEXT,
    by_hand TEXT,
    PRIMARY KEY (schedule, due_at)
);
CREATE INDEX firings_by_due ON firings (due_at, schedule);
CREATE INDEX firings_not_fired ON firings (state, due_at, schedule) WHERE state <> 'fired';
CREATE INDEX firings_waiting ON firings (schedule, due_at) WHERE state = 'waiting';

ALTER TABLE tasks ADD COLUMN schedule TEXT;
ALTER TABLE tasks ADD COLUMN due_at DOUBLE PRECISION;
CREATE INDEX tasks_of_schedule ON tasks (schedule)
    WHERE schedule IS NOT NULL AND ended_at IS NULL;
