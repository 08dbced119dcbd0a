-- The secrets of what runs later: of all tasks of a plan, or of a schedule, sealed together with
-- the key of that id; NULL: it has none. The secret that a callback had before signs until then.

ALTER TABLE plans ADD COLUMN key_id TEXT;
ALTER TABLE plans ADD COLUMN sealed BLOB;
ALTER TABLE schedules ADD COLUMN key_id TEXT;
ALTER TABLE schedules ADD COLUMN sealed BLOB;
CREATE INDEX plans_by_key_id ON plans (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX schedules_by_key_id ON schedules (key_id) WHERE key_id IS NOT NULL;

ALTER TABLE callbacks ADD COLUMN old_secret_until DOUBLE PRECISION;
