-- All SQL of the store, by name, in the part that SQLite and PostgreSQL share.
-- $words are filled in by master/rows.py. Python counts the rows of a statement that begins
-- with UPDATE, not of one that begins with WITH. A query that collects answers one JSON array.

-- name: runs_by_id
SELECT $collect($row(runs, r))
FROM $each(:ids) j CROSS JOIN runs r
WHERE r.id = j.value AND NOT EXISTS (SELECT 1 FROM purges p WHERE p.task_seq = r.task_seq)

-- name: tasks_by_id
SELECT $collect($row(tasks, t))
FROM $each(:ids) j CROSS JOIN tasks t
WHERE t.id = j.value AND NOT EXISTS (SELECT 1 FROM purges p WHERE p.task_seq = t.seq)

-- name: agents_by_id
SELECT $collect($row(agents, a))
FROM $each(:ids) j CROSS JOIN agents a
WHERE a.id = j.value

-- name: open_runs
-- Those that were handed out and of which something may still be learnt.
SELECT $collect($row(runs, r))
FROM $each(:agents) j CROSS JOIN runs r
WHERE r.agent = j.value AND (r.state = 'RUNNING' OR (r.state = 'UNKNOWN' AND NOT r.settled))

-- name: claimable_runs
-- The first waiting runs of each agent whose task may start one; full tasks are passed over.
SELECT $collect($row(runs, r))
FROM $each(:agents) j CROSS JOIN runs r
WHERE r.id IN (
    SELECT w.id
    FROM runs w CROSS JOIN tasks t
    WHERE w.agent = j.value AND w.state = 'WAITING' AND w.due_at IS NULL
      AND t.id = w.task AND t.stop IS NULL AND t.state IN ('WAITING', 'RUNNING')
      AND (t.parallel = 0 OR t.running < t.parallel)
      AND (t.released IS NULL OR w.seq < t.released)
    ORDER BY w.priority DESC, w.task_seq, w.seq
    LIMIT :limit
)

-- name: waiting_runs_of_agent
SELECT $collect($row(runs, r))
FROM runs r
WHERE r.agent = :agent AND r.state = 'WAITING' AND r.due_at IS NULL

-- name: runs_of_task_in
SELECT $collect($row(runs, r))
FROM $each(:states) j CROSS JOIN runs r
WHERE r.task_seq = :task_seq AND r.state = j.value

-- name: set_task_settings
UPDATE tasks SET settings = :settings WHERE id = :id

-- name: set_priority_of_waiting
UPDATE runs SET priority = :priority, row_version = row_version + 1
WHERE task_seq = :task_seq AND state = 'WAITING'

-- name: waiting_below
SELECT id FROM runs
WHERE task_seq = :task_seq AND state = 'WAITING' AND seq < :place
ORDER BY seq LIMIT :limit

-- name: resuming_tasks
SELECT id FROM tasks WHERE resume_at <= :now ORDER BY resume_at LIMIT :limit

-- name: update_agents
UPDATE agents SET $set(agents), row_version = new.row_version + 1
FROM (SELECT $changes(agents) FROM $each(:rows) j) AS new
WHERE agents.id = new.id AND agents.row_version = new.row_version

-- name: update_tasks
UPDATE tasks SET $set(tasks), row_version = new.row_version + 1
FROM (SELECT $changes(tasks) FROM $each(:rows) j) AS new
WHERE tasks.id = new.id AND tasks.row_version = new.row_version

-- name: update_runs
UPDATE runs SET $set(runs), row_version = new.row_version + 1
FROM (SELECT $changes(runs) FROM $each(:rows) j) AS new
WHERE runs.id = new.id AND runs.row_version = new.row_version

-- name: sweep_waiting
UPDATE runs SET state = :state, reason = :reason, ended_at = :at,
    cancelled_by = COALESCE(:by, cancelled_by), row_version = row_version + 1
WHERE task_seq = (SELECT t.seq FROM tasks t WHERE t.id = :task) AND state = 'WAITING'

-- name: insert_history
INSERT INTO run_history (run, attempt, state, reason, at, replaced_at)
SELECT j.value ->> 0, CAST(j.value ->> 1 AS BIGINT), j.value ->> 2, j.value ->> 3,
       CAST(j.value ->> 4 AS DOUBLE PRECISION), CAST(j.value ->> 5 AS DOUBLE PRECISION)
FROM $each(:rows) j

-- name: history_of_run
SELECT attempt, state, reason, at, replaced_at
FROM run_history
WHERE run = :run
ORDER BY run, at
LIMIT :limit

-- name: insert_outputs
-- Chunks of many runs in one value, each cut out at its place (counted from 1).
INSERT INTO outputs (run, attempt, start_at, bytes, content)
SELECT j.value ->> 0, CAST(j.value ->> 1 AS BIGINT), CAST(j.value ->> 2 AS BIGINT),
       CAST(j.value ->> 4 AS BIGINT),
       substr(:content, CAST(j.value ->> 3 AS BIGINT), CAST(j.value ->> 4 AS BIGINT))
FROM $each(:rows) j

-- name: outputs_from
-- The chunks that reach past :start_at, in order.
SELECT start_at, bytes, content FROM outputs
WHERE run = :run AND attempt = :attempt
  AND start_at >= (
      SELECT COALESCE(MAX(o.start_at), 0) FROM outputs o
      WHERE o.run = :run AND o.attempt = :attempt AND o.start_at <= :start_at
  )
ORDER BY start_at
LIMIT :limit

-- name: expired_tasks
SELECT id FROM tasks WHERE (waiting > 0 OR open) AND expires_at <= :now ORDER BY expires_at LIMIT :limit

-- name: unacknowledged_late_runs
SELECT r.id
FROM agents a CROSS JOIN runs r
WHERE a.granted > a.acked AND r.agent = a.id AND r.granted_no > a.acked
  AND (r.state = 'RUNNING' OR (r.state = 'UNKNOWN' AND NOT r.settled))
  AND r.want IS NULL AND r.start_by <= :now
LIMIT :limit

-- name: silent_runs
-- Running, and their agent not heard of since :heard_before less the task's patience.
SELECT r.id
FROM tasks t CROSS JOIN runs r CROSS JOIN agents a
WHERE t.running > 0 AND :now - t.lost_after >= :counted_from
  AND r.task_seq = t.seq AND r.state = 'RUNNING'
  AND a.id = r.agent AND a.last_seen <= :now - t.lost_after
LIMIT :limit

-- name: touch_agents
-- last_seen only grows, and is no part of what a decision is guarded by; nor is a claim, which
-- may come late, when it has been accepted.
UPDATE agents
SET last_seen = new.seen, claimed_hostname = NULLIF(new.claimed, agents.hostname), ip = new.ip
FROM (
    SELECT j.value ->> 0 AS id, CAST(j.value ->> 1 AS DOUBLE PRECISION) AS seen,
           j.value ->> 2 AS claimed, j.value ->> 3 AS ip
    FROM $each(:rows) j
) AS new
WHERE agents.id = new.id AND agents.last_seen < new.seen

-- name: insert_agent
INSERT INTO agents (
    id, key, hostname, ip, labels, facts, version, machine, instance, past_instances, slots,
    standing, granted, acked, registered_at, last_seen, joined_by, row_version
) VALUES (
    :id, :key, :hostname, :ip, :labels, :facts, :version, :machine, :instance, '[]', :slots,
    :standing, 0, 0, :now, :now, :joined_by, 0
)

-- name: agent_by_key
SELECT id FROM agents WHERE key = :key

-- name: insert_script
INSERT INTO scripts (sha256, content) VALUES (:sha256, :content) ON CONFLICT (sha256) DO NOTHING

-- name: script
SELECT content FROM scripts WHERE sha256 = :sha256

-- name: insert_task
INSERT INTO tasks (
    id, seq, name, state, reason, stop, created_by, created_at, started_at, ended_at, parallel,
    fail_count, fail_rate, on_limit, priority, offline, expires_at, lost_after, total, waiting,
    running, succeed, failed, timeout, cancelled, skipped, unknown, settings, script, retry_of,
    rolling, between_waves, wave_pause, released, schedule, due_at, saved_script,
    saved_version, plan, mode, open, row_version
)
SELECT
    :id, COALESCE(MAX(seq), 0) + 1, :name, 'WAITING', '', NULL, :created_by, :now, NULL, NULL,
    :parallel, :fail_count, :fail_rate, :on_limit, :priority, :offline, :expires_at, :lost_after,
    :total, :waiting, 0, 0, 0, 0, 0, :skipped, 0, :settings, :script, :retry_of,
    :rolling, :between_waves, :wave_pause, :released, :schedule, :due_at, :saved_script,
    :saved_version, :plan, :mode, :open, 0
FROM tasks
RETURNING seq

-- name: insert_runs
INSERT INTO runs (
    id, task, seq, agent, hostname, attempt, state, reason, want, granted_no, instance, start_by,
    settled, created_at, priority, task_seq, started_at, ended_at, granted_at, code, killed,
    survivors, left_running, output_bytes, output_stored, output_sha256, output_gap, row_version
)
SELECT
    j.value ->> 0, :task, CAST(j.value ->> 1 AS BIGINT), j.value ->> 2, j.value ->> 3, 1,
    j.value ->> 4, j.value ->> 5, NULL, NULL, NULL, :start_by,
    FALSE, :now, :priority, :task_seq, NULL, CAST(j.value ->> 6 AS DOUBLE PRECISION), NULL, NULL,
    FALSE, '[]', 0, 0, 0, NULL, NULL, 0
FROM $each(:rows) j

-- name: idempotency_key
SELECT body_hash, task FROM idempotency_keys WHERE caller = :caller AND key = :key

-- name: insert_idempotency_key
INSERT INTO idempotency_keys (caller, key, body_hash, task, created_at)
VALUES (:caller, :key, :body_hash, :task, :now)

-- name: insert_peer
INSERT INTO peers (key, role, label, address, created_at)
VALUES (:key, :role, :label, :address, :now)
ON CONFLICT (key) DO NOTHING

-- name: peer
SELECT key, role, revoked_at FROM peers WHERE key = :key

-- name: web_keys
SELECT key FROM peers WHERE role = 'web' AND revoked_at IS NULL

-- name: web_servers
SELECT key, address, created_at, revoked_at, refused_since FROM peers WHERE role = 'web'

-- name: revoke_peer
UPDATE peers SET revoked_at = :now WHERE key = :key AND revoked_at IS NULL

-- name: peers_to_refuse
SELECT key FROM peers WHERE revoked_at IS NOT NULL AND refused_since IS NULL

-- name: peer_is_refused
UPDATE peers SET refused_since = :now WHERE key = :key AND refused_since IS NULL

-- name: all_agents
SELECT $collect($row(agents, a)) FROM agents a

-- name: meta
SELECT value FROM meta WHERE name = :name

-- name: set_meta
INSERT INTO meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: one_agent
SELECT $collect($array($row(agents, a), (
    SELECT COUNT(*) FROM runs r
    WHERE r.agent = a.id AND (r.state = 'RUNNING' OR (r.state = 'UNKNOWN' AND NOT r.settled))
      AND r.state = 'RUNNING'
)))
FROM agents a WHERE a.id = :id

-- name: tasks_by_seq
SELECT $collect($row(tasks, t))
FROM $each(:seqs) j CROSS JOIN tasks t
WHERE t.seq = j.value AND NOT EXISTS (SELECT 1 FROM purges p WHERE p.task_seq = t.seq)

-- name: scan_tasks
SELECT $collect($array(t.seq, t.id, t.name, t.state, t.created_by))
FROM (
    SELECT seq, id, name, state, created_by FROM tasks
    WHERE seq < :before ORDER BY seq DESC LIMIT :limit
) t

-- name: scan_tasks_in_state
SELECT $collect($array(t.seq, t.id, t.name, t.state, t.created_by))
FROM (
    SELECT seq, id, name, state, created_by FROM tasks
    WHERE state = :state AND seq < :before ORDER BY seq DESC LIMIT :limit
) t

-- name: scan_tasks_of_person
SELECT $collect($array(t.seq, t.id, t.name, t.state, t.created_by))
FROM (
    SELECT seq, id, name, state, created_by FROM tasks
    WHERE created_by = :person AND seq < :before ORDER BY seq DESC LIMIT :limit
) t

-- name: scan_tasks_of_agent
SELECT $collect($array(t.seq, t.id, t.name, t.state, t.created_by))
FROM (
    SELECT o.seq, o.id, o.name, o.state, o.created_by
    FROM tasks o
    WHERE o.seq < :before AND o.seq >= :floor
      AND EXISTS (SELECT 1 FROM runs r WHERE r.task_seq = o.seq AND r.agent = :agent)
    ORDER BY o.seq DESC LIMIT :limit
) t

-- name: span_of_tasks
-- How far the next :limit tasks reach, and how many there are.
SELECT MIN(t.seq), COUNT(*)
FROM (SELECT seq FROM tasks WHERE seq < :before ORDER BY seq DESC LIMIT :limit) t

-- name: count_active_tasks
SELECT COUNT(*) FROM tasks t WHERE t.state IN ('WAITING', 'RUNNING', 'PAUSED')

-- name: active_tasks
SELECT $collect($row(tasks, t)) FROM tasks t WHERE t.state IN ('WAITING', 'RUNNING', 'PAUSED')

-- name: list_runs
SELECT $collect($row(runs, r))
FROM (
    SELECT * FROM runs WHERE task_seq = :task_seq AND seq > :seq ORDER BY seq LIMIT :limit
) r

-- name: list_runs_in_state
SELECT $collect($row(runs, r))
FROM (
    SELECT * FROM runs WHERE task_seq = :task_seq AND state = :state AND seq > :seq
    ORDER BY seq LIMIT :limit
) r

-- name: list_runs_of_agent
SELECT $collect($array($row(runs, r), (SELECT t.name FROM tasks t WHERE t.seq = r.task_seq)))
FROM (
    SELECT w.*
    FROM tasks o CROSS JOIN runs w
    WHERE o.seq < :before AND o.seq >= :floor AND w.task_seq = o.seq AND w.agent = :agent
      AND NOT EXISTS (SELECT 1 FROM purges p WHERE p.task_seq = o.seq)
    ORDER BY o.seq DESC LIMIT :limit
) r

-- name: results_of_task
SELECT $collect($array(
    r.seq, r.id, r.hostname, r.state, r.code, r.output_sha256, r.output_bytes, r.reason
))
FROM runs r
WHERE r.task_seq = :task_seq

-- name: results_of_state
-- The first of those in one state.
SELECT $collect($array(
    r.seq, r.id, r.hostname, r.state, r.code, r.output_sha256, r.output_bytes, r.reason
))
FROM (
    SELECT seq, id, hostname, state, code, output_sha256, output_bytes, reason FROM runs
    WHERE task_seq = :task_seq AND state = :state ORDER BY seq LIMIT :limit
) r

-- name: grid_of_task
SELECT $collect($array(r.seq, r.id, r.hostname, r.state))
FROM (
    SELECT seq, id, hostname, state FROM runs
    WHERE task_seq = :task_seq AND seq >= :offset ORDER BY seq LIMIT :limit
) r

-- name: targets_of_task
-- As the agents are now, of the runs that are in one of the states.
SELECT $collect($array(r.seq, a.id, a.hostname, a.standing))
FROM $each(:states) j CROSS JOIN runs r CROSS JOIN agents a
WHERE r.task_seq = :task_seq AND r.state = j.value AND a.id = r.agent

-- name: waiting_agents
SELECT r.agent FROM tasks t CROSS JOIN runs r
WHERE t.id = :task AND r.task_seq = t.seq AND r.state = 'WAITING' AND r.due_at IS NULL
  AND (t.released IS NULL OR r.seq < t.released)
ORDER BY r.seq LIMIT :limit

-- name: purge_under_way
-- A task that is being forgotten.
SELECT t.seq, t.id, t.script
FROM purges p CROSS JOIN tasks t
WHERE t.seq = p.task_seq
ORDER BY p.task_seq LIMIT 1

-- name: next_ended_task
-- In the order of ends; and is there a run of which something may still be learnt, a plan that goes
-- on and may ask for its results, or a retry that is not full of its items yet? The sum is there so
-- that the index that is walked is that of the ends.
SELECT t.ended_at, t.seq, EXISTS (
    SELECT 1 FROM runs r WHERE r.task_seq = t.seq AND r.state = 'UNKNOWN' AND NOT r.settled
) OR EXISTS (SELECT 1 FROM plans p WHERE p.id = t.plan AND p.ended_at IS NULL) OR EXISTS (
    SELECT 1 FROM tasks n CROSS JOIN queues q
    WHERE n.retry_of = t.id AND q.id = n.id AND q.filling IS NOT NULL
)
FROM tasks t
WHERE t.ended_at IS NOT NULL AND t.ended_at < :before AND (t.ended_at, t.seq) > (:ended_at, :seq)
  AND t.seq + 0 < (SELECT MAX(n.seq) FROM tasks n)
ORDER BY t.ended_at, t.seq LIMIT 1

-- name: may_forget
-- A task that has ended and is no longer the newest; and must it stay for the time being?
SELECT EXISTS (
    SELECT 1 FROM runs r WHERE r.task_seq = t.seq AND r.state = 'UNKNOWN' AND NOT r.settled
) OR EXISTS (SELECT 1 FROM plans p WHERE p.id = t.plan AND p.ended_at IS NULL) OR EXISTS (
    SELECT 1 FROM tasks n CROSS JOIN queues q
    WHERE n.retry_of = t.id AND q.id = n.id AND q.filling IS NOT NULL
)
FROM tasks t
WHERE t.seq = :seq AND t.ended_at IS NOT NULL AND t.seq < (SELECT MAX(n.seq) FROM tasks n)
  AND NOT EXISTS (SELECT 1 FROM purges g WHERE g.task_seq = t.seq)

-- name: insert_purge
INSERT INTO purges (task_seq) VALUES (:seq)

-- name: delete_purge
DELETE FROM purges WHERE task_seq = :seq

-- name: unbind_retries
UPDATE tasks SET retry_of = NULL
WHERE id IN (SELECT o.id FROM tasks o WHERE o.retry_of = :task LIMIT :limit)

-- name: first_runs
SELECT r.id FROM runs r WHERE r.task_seq = :task_seq ORDER BY r.seq LIMIT :limit

-- name: chunks_of_runs
SELECT o.run, o.attempt, o.start_at, o.bytes
FROM $each(:runs) j CROSS JOIN outputs o
WHERE o.run = j.value LIMIT :limit

-- name: delete_chunks
DELETE FROM outputs
WHERE (run, attempt, start_at) IN (
    SELECT j.value ->> 0, CAST(j.value ->> 1 AS BIGINT), CAST(j.value ->> 2 AS BIGINT)
    FROM $each(:rows) j
)

-- name: delete_history
DELETE FROM run_history WHERE run IN (SELECT j.value FROM $each(:runs) j)

-- name: delete_runs
DELETE FROM runs WHERE id IN (SELECT j.value FROM $each(:runs) j)

-- name: orphan_key
UPDATE idempotency_keys SET orphan = TRUE WHERE task = :task

-- name: delete_orphan_keys
DELETE FROM idempotency_keys
WHERE (caller, key) IN (
    SELECT k.caller, k.key FROM idempotency_keys k
    WHERE k.orphan AND k.created_at < :before
    ORDER BY k.created_at LIMIT :limit
)

-- name: delete_task
DELETE FROM tasks WHERE seq = :seq

-- name: delete_unused_script
DELETE FROM scripts
WHERE sha256 = :sha256 AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.script = :sha256)
  AND NOT EXISTS (SELECT 1 FROM script_versions v WHERE v.script = :sha256)
