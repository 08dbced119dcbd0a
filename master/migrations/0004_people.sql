-- People with passwords, the sessions of their browsers, and tokens that belong to somebody.
-- `name_key` is the name in lower case: Alice and alice are one person.

CREATE TABLE people (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    hosts TEXT,
    password TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    last_login DOUBLE PRECISION
);
CREATE INDEX people_by_role ON people (role, disabled);

-- A token without an owner belongs to nobody in particular: the one of the first start, and those
-- made with it.
ALTER TABLE tokens ADD COLUMN owner TEXT REFERENCES people (id);
ALTER TABLE tokens ADD COLUMN expires_at DOUBLE PRECISION;
ALTER TABLE tokens ADD COLUMN used_at DOUBLE PRECISION;
CREATE INDEX tokens_of_owner ON tokens (owner, created_at, id) WHERE owner IS NOT NULL;
CREATE INDEX tokens_by_age ON tokens (kind, created_at, id);

-- A session is opened by a password, or by a token (`token`), whose owner, if it has one, is the
-- person then: it is worth what the token is worth, and ends with it.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    secret_sha256 TEXT NOT NULL UNIQUE,
    person TEXT REFERENCES people (id),
    token TEXT REFERENCES tokens (id),
    address TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    used_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    CHECK (person IS NOT NULL OR token IS NOT NULL)
);
CREATE INDEX sessions_of_person ON sessions (person, used_at);
CREATE INDEX sessions_of_token ON sessions (token, used_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
