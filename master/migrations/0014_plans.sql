-- Plans: steps one after another, each of one or several tasks. A row of `plan_tasks` is one task
-- of a step in one attempt at it; the primary key lets it be made once, by however many processes.
-- What a task came to is kept there when its step is over, for tasks are forgotten before plans.

CREATE TABLE plans (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    steps TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    step BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    again TEXT NOT NULL,
    owner TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    cancelled_by TEXT,
    key TEXT,
    body_hash TEXT NOT NULL,
    schedule TEXT,
    due_at DOUBLE PRECISION,
    row_version BIGINT NOT NULL
);
CREATE UNIQUE INDEX plans_by_key ON plans (created_by, key) WHERE key IS NOT NULL;
CREATE INDEX plans_under_way ON plans (id) WHERE ended_at IS NULL;
CREATE INDEX plans_ended ON plans (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE plan_tasks (
    plan TEXT NOT NULL REFERENCES plans (id),
    step BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    place BIGINT NOT NULL,
    task TEXT,
    reason TEXT NOT NULL,
    state TEXT,
    counts TEXT,
    PRIMARY KEY (plan, step, attempt, place)
);

ALTER TABLE tasks ADD COLUMN plan TEXT;
CREATE INDEX tasks_of_plan ON tasks (plan) WHERE plan IS NOT NULL AND ended_at IS NULL;
