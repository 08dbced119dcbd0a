-- SQL of plans and their tasks, by name; see queries.sql for how it is written.

-- name: insert_plan
INSERT INTO plans (
    id, name, steps, state, reason, step, attempt, again, owner, owner_id, created_by, created_at,
    ended_at, cancelled_by, key, body_hash, schedule, due_at, key_id, sealed,
    row_version
) VALUES (
    :id, :name, :steps, :state, :reason, :step, :attempt, :again, :owner, :owner_id, :created_by,
    :created_at, :ended_at, :cancelled_by, :key, :body_hash, :schedule, :due_at,
    :key_id, :sealed, 0
)

-- name: update_plan
UPDATE plans SET
    state = :state, reason = :reason, step = :step, attempt = :attempt, again = :again,
    owner = :owner, owner_id = :owner_id, ended_at = :ended_at, cancelled_by = :cancelled_by,
    row_version = row_version + 1
WHERE id = :id AND row_version = :row_version

-- name: plan_by_id
SELECT $row(plans, p)
FROM plans p WHERE p.id = :id

-- name: secrets_of_plan
SELECT p.key_id, p.sealed FROM plans p WHERE p.id = :id

-- name: forget_secrets_of_plans
-- Those that are sealed with another key than this one, which is gone.
UPDATE plans SET key_id = NULL, sealed = NULL WHERE key_id < :key_id OR key_id > :key_id

-- name: plan_by_key
SELECT p.body_hash, p.id FROM plans p WHERE p.created_by = :created_by AND p.key = :key

-- name: plans_newest_first
SELECT $row(plans, p)
FROM plans p WHERE p.id < :before ORDER BY p.id DESC LIMIT :limit

-- name: plans_held_up
-- Those that have not ended though no task is left that they could wait for.
SELECT p.id FROM plans p
WHERE p.ended_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM tasks t WHERE t.plan = p.id AND t.ended_at IS NULL
)

-- name: insert_plan_task
INSERT INTO plan_tasks (plan, step, attempt, place, task, reason, state, counts)
VALUES (:plan, :step, :attempt, :place, :task, :reason, NULL, NULL)

-- name: settle_plan_task
UPDATE plan_tasks SET state = :state, counts = :counts
WHERE plan = :plan AND step = :step AND attempt = :attempt AND place = :place

-- name: tasks_of_plan
-- What a task came to is its own row's business while that is kept.
SELECT pt.step, pt.attempt, pt.place, pt.task, pt.reason,
       COALESCE(t.state, pt.state, CASE WHEN pt.task IS NULL THEN NULL ELSE 'CANCELLED' END),
       pt.counts, t.id IS NOT NULL, t.reason,
       t.waiting, t.running, t.succeed, t.failed, t.timeout, t.cancelled, t.skipped, t.unknown
FROM plan_tasks pt LEFT JOIN tasks t ON t.id = pt.task
WHERE pt.plan = :plan
ORDER BY pt.step, pt.attempt, pt.place

-- name: open_tasks_of_plan
SELECT t.id FROM tasks t WHERE t.plan = :plan AND t.ended_at IS NULL

-- name: runs_of_plan_task
-- Of a queue it says nothing of a host which items it got.
SELECT r.agent, r.state FROM tasks t CROSS JOIN runs r
WHERE t.id = :task AND t.mode = 'fan_out' AND r.task_seq = t.seq

-- name: forget_plan_tasks
DELETE FROM plan_tasks WHERE plan IN (
    SELECT p.id FROM plans p WHERE p.ended_at < :before ORDER BY p.ended_at LIMIT :limit
)

-- name: forget_plans
DELETE FROM plans WHERE id IN (
    SELECT p.id FROM plans p WHERE p.ended_at < :before ORDER BY p.ended_at LIMIT :limit
)

-- name: what_plans_use
SELECT p.id, p.name, p.steps FROM plans p WHERE p.ended_at IS NULL ORDER BY p.id
