-- Who is told what, by callbacks: those who want to know (callbacks), one row for each event and
-- callback (deliveries), and one for each try. What is told is written in the transaction that
-- made it so. URL and secret of a callback are sealed, with the key of that id.

CREATE TABLE callbacks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    events TEXT NOT NULL,
    tasks TEXT NOT NULL,
    names TEXT NOT NULL,
    schedules TEXT NOT NULL,
    address TEXT NOT NULL,
    username TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipients TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    problem TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at DOUBLE PRECISION NOT NULL,
    removed_at DOUBLE PRECISION,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL
);
CREATE UNIQUE INDEX callbacks_by_name ON callbacks (lower(name)) WHERE removed_at IS NULL;
CREATE INDEX callbacks_by_key ON callbacks (key_id);
CREATE INDEX callbacks_removed ON callbacks (removed_at) WHERE removed_at IS NOT NULL;

-- `patience_from`: when the day began for which it is tried, `tries_since` how often since then.
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    callback TEXT NOT NULL REFERENCES callbacks (id),
    event TEXT NOT NULL,
    object TEXT NOT NULL,
    path TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    next_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    tries BIGINT NOT NULL,
    tries_since BIGINT NOT NULL,
    patience_from DOUBLE PRECISION NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (callback, next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_of_callback ON deliveries (callback, id);
CREATE INDEX deliveries_in_state ON deliveries (callback, state, id);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE tries (
    delivery TEXT NOT NULL REFERENCES deliveries (id),
    number BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    took_s DOUBLE PRECISION NOT NULL,
    status BIGINT,
    error TEXT NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (delivery, number)
);
