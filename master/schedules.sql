-- SQL of schedules and their firings, by name; see queries.sql for how it is written.

-- name: insert_schedule
INSERT INTO schedules (
    id, name, timing, task, plan, overlap, misfire, misfire_most, misfire_grace_s,
    owner, owner_id, created_by, created_at, edited_at, paused_by, removed_at, decided_until,
    next_due, next_at, revision, key_id, sealed, row_version
) VALUES (
    :id, :name, :timing, :task, :plan, :overlap, :misfire, :misfire_most, :misfire_grace_s,
    :owner, :owner_id, :created_by, :created_at, :edited_at, :paused_by, :removed_at,
    :decided_until, :next_due, :next_at, :revision, :key_id, :sealed, 0
)

-- name: update_schedule
UPDATE schedules SET
    name = :name, timing = :timing, task = :task, plan = :plan, overlap = :overlap,
    misfire = :misfire, misfire_most = :misfire_most, misfire_grace_s = :misfire_grace_s,
    owner = :owner, owner_id = :owner_id, edited_at = :edited_at, paused_by = :paused_by,
    removed_at = :removed_at, decided_until = :decided_until, next_due = :next_due,
    next_at = :next_at, revision = :revision, row_version = row_version + 1
WHERE id = :id AND row_version = :row_version

-- name: seal_schedule
UPDATE schedules SET key_id = :key_id, sealed = :sealed WHERE id = :id

-- name: secrets_of_schedule
SELECT s.key_id, s.sealed FROM schedules s WHERE s.id = :id

-- name: forget_secrets_of_schedules
-- Those that are sealed with another key than this one, which is gone.
UPDATE schedules SET key_id = NULL, sealed = NULL WHERE key_id < :key_id OR key_id > :key_id

-- name: move_schedule
-- What a decision changes, and nothing that people set.
UPDATE schedules SET
    decided_until = :decided_until, next_due = :next_due, next_at = :next_at,
    row_version = row_version + 1
WHERE id = :id AND row_version = :row_version

-- name: schedule_by_id
SELECT $row(schedules, s)
FROM schedules s WHERE s.id = :id

-- name: schedules_due
-- The first to fire before the others.
SELECT $row(schedules, s)
FROM schedules s WHERE s.next_at <= :now ORDER BY s.next_at LIMIT :limit

-- name: schedules_by_name
SELECT $row(schedules, s)
FROM schedules s WHERE s.removed_at IS NULL AND lower(s.name) > :after
ORDER BY lower(s.name) LIMIT :limit

-- name: timings
-- Of all schedules that are due again, the first before the others.
SELECT s.id, s.name, s.timing, s.decided_until
FROM schedules s WHERE s.next_at <= :until ORDER BY s.next_at

-- name: next_firing
SELECT s.next_at FROM schedules s WHERE s.next_at IS NOT NULL ORDER BY s.next_at LIMIT 1

-- name: schedule_named
SELECT s.id FROM schedules s WHERE lower(s.name) = lower(:name) AND s.removed_at IS NULL

-- name: count_schedules
SELECT COUNT(*) FROM schedules s WHERE s.removed_at IS NULL AND lower(s.name) > ''

-- name: insert_firing
INSERT INTO firings (
    schedule, due_at, until_at, state, reason, decided_at, late_s, task, plan, by_hand
) VALUES (
    :schedule, :due_at, :until_at, :state, :reason, :decided_at, :late_s, :task, :plan, :by_hand
)
ON CONFLICT (schedule, due_at) DO NOTHING

-- name: settle_firing
-- One that waits becomes what it stays.
UPDATE firings SET
    state = :state, reason = :reason, task = :task, plan = :plan, decided_at = :decided_at
WHERE schedule = :schedule AND due_at = :due_at AND state = 'waiting'

-- name: waiting_firings
SELECT f.due_at FROM firings f
WHERE f.schedule = :schedule AND f.state = 'waiting' ORDER BY f.due_at

-- name: schedules_held_up
-- Whose firings wait though no task or plan is left that they could wait for.
SELECT DISTINCT f.schedule FROM firings f
WHERE f.state = 'waiting' AND NOT EXISTS (
    SELECT 1 FROM tasks t WHERE t.schedule = f.schedule AND t.ended_at IS NULL
) AND NOT EXISTS (
    SELECT 1 FROM plans p WHERE p.schedule = f.schedule AND p.ended_at IS NULL
)

-- name: decided_instants
SELECT f.due_at FROM firings f
WHERE f.schedule = :schedule AND f.due_at > :after AND f.due_at <= :until

-- name: active_tasks_of_schedule
SELECT t.id FROM tasks t WHERE t.schedule = :schedule AND t.ended_at IS NULL

-- name: active_plans_of_schedule
SELECT p.id FROM plans p WHERE p.schedule = :schedule AND p.ended_at IS NULL

-- name: firings_of_schedule
SELECT f.schedule, s.name, f.due_at, f.until_at, f.state, f.reason, f.decided_at, f.late_s, f.task,
       f.by_hand, (SELECT t.state FROM tasks t WHERE t.id = f.task), f.plan,
       (SELECT p.state FROM plans p WHERE p.id = f.plan)
FROM firings f CROSS JOIN schedules s
WHERE f.schedule = :schedule AND f.due_at < :before AND s.id = f.schedule
ORDER BY f.due_at DESC LIMIT :limit

-- name: all_firings
SELECT f.schedule, s.name, f.due_at, f.until_at, f.state, f.reason, f.decided_at, f.late_s, f.task,
       f.by_hand, (SELECT t.state FROM tasks t WHERE t.id = f.task), f.plan,
       (SELECT p.state FROM plans p WHERE p.id = f.plan)
FROM firings f CROSS JOIN schedules s
WHERE (f.due_at, f.schedule) < (:before, :schedule) AND s.id = f.schedule
ORDER BY f.due_at DESC, f.schedule DESC LIMIT :limit

-- name: all_firings_in_state
SELECT f.schedule, s.name, f.due_at, f.until_at, f.state, f.reason, f.decided_at, f.late_s, f.task,
       f.by_hand, (SELECT t.state FROM tasks t WHERE t.id = f.task), f.plan,
       (SELECT p.state FROM plans p WHERE p.id = f.plan)
FROM firings f CROSS JOIN schedules s
WHERE f.state = :state AND f.state <> 'fired' AND (f.due_at, f.schedule) < (:before, :schedule)
  AND s.id = f.schedule
ORDER BY f.due_at DESC, f.schedule DESC LIMIT :limit

-- name: forget_firings
DELETE FROM firings WHERE (schedule, due_at) IN (
    SELECT f.schedule, f.due_at FROM firings f
    WHERE f.due_at < :before AND f.state <> 'waiting' ORDER BY f.due_at LIMIT :limit
)

-- name: forget_schedules
DELETE FROM schedules WHERE id IN (
    SELECT s.id FROM schedules s
    WHERE s.removed_at < :before AND NOT EXISTS (SELECT 1 FROM firings f WHERE f.schedule = s.id)
    LIMIT :limit
)

-- name: what_schedules_use
SELECT id, name, task, plan, paused_by FROM schedules WHERE removed_at IS NULL ORDER BY lower(name)
