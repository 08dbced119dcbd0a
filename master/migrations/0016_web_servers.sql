-- Keys of web servers can be listed and revoked: from where each came, and since when the master
-- that runs refuses one that was revoked.

ALTER TABLE peers ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE peers ADD COLUMN refused_since DOUBLE PRECISION;

CREATE INDEX peers_to_refuse ON peers (key)
WHERE revoked_at IS NOT NULL AND refused_since IS NULL;
