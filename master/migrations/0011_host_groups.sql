-- Names for expressions of hosts.

CREATE TABLE host_groups (
    name TEXT PRIMARY KEY,
    hosts TEXT NOT NULL,
    note TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at DOUBLE PRECISION NOT NULL
);
