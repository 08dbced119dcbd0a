-- A task may repeat runs of another; a host has a history; tasks are searched by person and host.
-- The runs of a host are found task by task: an index that begins with the agent would be written
-- at ten thousand places for one task of ten thousand hosts, which took four times as long.

ALTER TABLE tasks ADD COLUMN retry_of TEXT REFERENCES tasks (id);
CREATE INDEX tasks_retrying ON tasks (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX tasks_by_person ON tasks (created_by, seq);
CREATE INDEX runs_by_agent ON runs (task_seq, agent);
