-- A schedule makes tasks or plans: `task` is the JSON null where `plan` is given. `firings.plan` is
-- to a plan what `firings.task` is to a task.

ALTER TABLE schedules ADD COLUMN plan TEXT;
ALTER TABLE firings ADD COLUMN plan TEXT;
CREATE INDEX plans_of_schedule ON plans (schedule)
    WHERE schedule IS NOT NULL AND ended_at IS NULL;
