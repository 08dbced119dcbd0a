-- Who did what: records that are only added, each with the hash of the one before. What refuses
-- to change or delete one is in master/engine.py, since every engine says it in its own way.
-- Time in milliseconds: a whole number comes back exactly as it was hashed.

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    who TEXT NOT NULL,
    kind TEXT NOT NULL,
    credential TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    result TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (at_ms, seq);
CREATE INDEX audit_by_person ON audit (who, at_ms, seq);
CREATE INDEX audit_by_object ON audit (object, at_ms, seq);

-- Who has cancelled it, while it ran or before.
ALTER TABLE tasks ADD COLUMN cancelled_by TEXT;
ALTER TABLE runs ADD COLUMN cancelled_by TEXT;
