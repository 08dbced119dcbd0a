-- A queue that repeats many items of another is filled in steps, and begins when all are there:
-- what is still to come is written here, so that a master that was killed goes on.

ALTER TABLE queues ADD COLUMN filling TEXT;
CREATE INDEX queues_filling ON queues (id) WHERE filling IS NOT NULL;
