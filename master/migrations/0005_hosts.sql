-- Hosts come by tokens that end, wait to be accepted, and may call themselves something new.

ALTER TABLE agents ADD COLUMN claimed_hostname TEXT;
ALTER TABLE agents ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN joined_by TEXT NOT NULL DEFAULT '';
CREATE INDEX agents_pending ON agents (id) WHERE standing = 'pending';

-- agent: the one host that the token gives a new key; else it enrols new ones.
-- A token of the time before these had an end is kept, and shown as one without.
CREATE TABLE join_tokens (
    id TEXT PRIMARY KEY,
    secret_sha256 TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    by_hand BOOLEAN NOT NULL,
    agent TEXT,
    used BIGINT NOT NULL,
    uses_left BIGINT,
    created_at DOUBLE PRECISION NOT NULL,
    created_by TEXT NOT NULL,
    expires_at DOUBLE PRECISION
);
CREATE INDEX join_tokens_of_agent ON join_tokens (agent) WHERE agent IS NOT NULL;
CREATE INDEX join_tokens_by_end ON join_tokens (expires_at) WHERE expires_at IS NOT NULL;

INSERT INTO join_tokens
SELECT id, secret_sha256, role, label, labels, FALSE, NULL, 0, uses_left, created_at, '', NULL
FROM tokens
WHERE kind = 'join' AND revoked_at IS NULL AND (uses_left IS NULL OR uses_left > 0);
DELETE FROM tokens WHERE kind = 'join';
