-- Scripts that are kept under a name, in versions that never change but for their state.

CREATE TABLE saved_scripts (
    name TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    newest BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE script_versions (
    name TEXT NOT NULL REFERENCES saved_scripts (name),
    number BIGINT NOT NULL,
    state TEXT NOT NULL,
    script TEXT NOT NULL REFERENCES scripts (sha256),
    bytes BIGINT NOT NULL,
    parameters TEXT NOT NULL,
    note TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name, number)
);
CREATE INDEX script_versions_by_script ON script_versions (script);

ALTER TABLE tasks ADD COLUMN saved_script TEXT;
ALTER TABLE tasks ADD COLUMN saved_version BIGINT;
CREATE INDEX tasks_of_saved_script ON tasks (saved_script, seq) WHERE saved_script IS NOT NULL;
