-- Values that a task's script gets and nobody sees, each sealed with the key of that id, which lies
-- beside the store and never in it.

CREATE TABLE secrets (
    task TEXT NOT NULL REFERENCES tasks (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    key_id TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (task, name)
);
CREATE INDEX secrets_by_key ON secrets (key_id);
