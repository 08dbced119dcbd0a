-- What only queues need, by name, in the same words as queries.sql.

-- name: queues_by_id
SELECT $collect($row(queues, q))
FROM $each(:ids) j CROSS JOIN queues q
WHERE q.id = j.value

-- name: attempts_by_id
SELECT $collect($row(attempts, a))
FROM $each(:ids) j CROSS JOIN attempts a
WHERE a.id = j.value

-- name: update_retries
-- What a run's other attempt has of its own, before `update_runs` writes the rest and looks at the
-- version. The number is of the agent before: together with the next one it may be another run's.
UPDATE runs SET
    granted_no = NULL, agent = new.agent, hostname = new.hostname, due_at = new.due_at, tries = new.tries,
    failed_items = new.failed_items
FROM (
    SELECT j.value ->> 0 AS id, j.value ->> 1 AS agent, j.value ->> 2 AS hostname,
           CAST(j.value ->> 3 AS DOUBLE PRECISION) AS due_at, CAST(j.value ->> 4 AS BIGINT) AS tries,
           j.value ->> 5 AS failed_items
    FROM $each(:rows) j
) AS new
WHERE runs.id = new.id

-- name: update_queues
UPDATE queues SET $set(queues), row_version = new.row_version + 1
FROM (SELECT $changes(queues) FROM $each(:rows) j) AS new
WHERE queues.id = new.id AND queues.row_version = new.row_version

-- name: update_attempts
UPDATE attempts SET $set(attempts), row_version = new.row_version + 1
FROM (SELECT $changes(attempts) FROM $each(:rows) j) AS new
WHERE attempts.id = new.id AND attempts.row_version = new.row_version

-- name: insert_new_runs
INSERT INTO runs ($columns(runs)) SELECT $new(runs) FROM $each(:rows) j

-- name: insert_new_attempts
INSERT INTO attempts ($columns(attempts)) SELECT $new(attempts) FROM $each(:rows) j

-- name: insert_queue
INSERT INTO queues (
    id, task_seq, name, batch, rate, burst, tokens, tokens_at, per_agent, agents_max,
    max_attempts, retry_pause, retry_codes, items, taken, retry_at, rest, rest_reason, slowest,
    row_version
) VALUES (
    :id, :task_seq, :name, :batch, :rate, :burst, :burst, :now, :per_agent, :agents_max,
    :max_attempts, :retry_pause, :retry_codes, :items, 0, NULL, NULL, '', '[]', 0
)

-- name: insert_items
INSERT INTO items (task_seq, seq, items, content)
SELECT :task_seq, CAST(j.value ->> 0 AS BIGINT), CAST(j.value ->> 1 AS BIGINT), j.value ->> 2
FROM $each(:rows) j

-- name: items_from
-- Those in [:seq, :until).
SELECT $collect($array(i.seq, i.items, i.content))
FROM items i
WHERE i.task_seq = :task_seq AND i.seq >= :seq AND i.seq < :until

-- name: upload
SELECT accepted FROM item_uploads WHERE task_seq = :task_seq AND upload = :upload

-- name: set_upload
INSERT INTO item_uploads (task_seq, upload, accepted) VALUES (:task_seq, :upload, :accepted)
ON CONFLICT (task_seq, upload) DO UPDATE SET accepted = excluded.accepted

-- name: due_runs
SELECT r.id, r.due_at FROM runs r
WHERE r.task_seq = :task_seq AND r.state = 'WAITING' AND r.due_at IS NOT NULL
ORDER BY r.due_at, r.seq LIMIT :limit

-- name: attempts_above
SELECT $collect($row(attempts, a))
FROM attempts a
WHERE a.agent = :agent AND a.granted_no > :hw

-- name: attempts_of_run
SELECT $collect($row(attempts, a)) FROM attempts a WHERE a.run = :run

-- name: dead_runs
SELECT r.id
FROM $each(:states) j CROSS JOIN runs r
WHERE r.task_seq = :task_seq AND r.state = j.value
LIMIT :limit

-- name: active_queues
SELECT $collect($array($row(tasks, t), $row(queues, q)))
FROM tasks t CROSS JOIN queues q
WHERE t.state IN ('WAITING', 'RUNNING', 'PAUSED') AND q.id = t.id

-- name: ended_queues
-- When each ended, and how many items it has.
SELECT t.ended_at, t.seq, q.items
FROM queues q CROSS JOIN tasks t
WHERE t.id = q.id AND t.ended_at IS NOT NULL

-- name: queue_holders
-- The runs of queues that agents have just now.
SELECT r.task, r.agent, r.id
FROM tasks t CROSS JOIN queues q CROSS JOIN runs r
WHERE t.state IN ('WAITING', 'RUNNING', 'PAUSED') AND q.id = t.id
  AND r.task_seq = t.seq AND r.state = 'RUNNING'

-- name: results_from
-- Every item, with the run that was made of it.
SELECT i.seq, i.items, i.content, CASE WHEN r.id IS NULL THEN NULL ELSE $row(runs, r) END
FROM items i LEFT JOIN runs r ON r.task_seq = i.task_seq AND r.seq = i.seq
WHERE i.task_seq = :task_seq AND i.seq > :seq
ORDER BY i.seq LIMIT :limit

-- name: results_in_state
SELECT r.seq, i.items, i.content, $row(runs, r)
FROM runs r CROSS JOIN items i
WHERE r.task_seq = :task_seq AND r.state = :state AND r.seq > :seq
  AND i.task_seq = r.task_seq AND i.seq = r.seq
ORDER BY r.seq LIMIT :limit

-- name: item_beginning
SELECT substr(i.content, 1, :characters) FROM items i
WHERE i.task_seq = :task_seq AND i.seq = :seq

-- name: filling_queues
SELECT q.id FROM queues q WHERE q.filling IS NOT NULL

-- name: runs_in_state
SELECT r.seq FROM runs r
WHERE r.task_seq = :task_seq AND r.state = :state AND r.seq >= :seq
ORDER BY r.seq LIMIT :limit

-- name: items_beyond
SELECT i.seq FROM items i
WHERE i.task_seq = :task_seq AND i.seq >= :seq
ORDER BY i.seq LIMIT :limit

-- name: copy_items
-- (place in the new task, place in the old one) of each.
INSERT INTO items (task_seq, seq, items, content)
SELECT :task_seq, CAST(j.value ->> 0 AS BIGINT), i.items, i.content
FROM $each(:rows) j CROSS JOIN items i
WHERE i.task_seq = :old_seq AND i.seq = CAST(j.value ->> 1 AS BIGINT)

-- name: batches_in_part
-- Of these runs those of which some lines are done.
SELECT r.seq, i.content, r.failed_items
FROM $each(:seqs) j CROSS JOIN runs r CROSS JOIN items i
WHERE r.task_seq = :task_seq AND r.seq = CAST(j.value AS BIGINT) AND r.failed_items <> '[]'
  AND i.task_seq = r.task_seq AND i.seq = r.seq

-- name: count_items
SELECT SUM(i.items) FROM items i WHERE i.task_seq = :task_seq AND i.seq >= :seq

-- name: first_items
SELECT i.seq FROM items i WHERE i.task_seq = :task_seq ORDER BY i.seq LIMIT :limit

-- name: delete_items
DELETE FROM items WHERE task_seq = :task_seq AND seq <= :seq

-- name: delete_uploads
DELETE FROM item_uploads WHERE task_seq = :task_seq

-- name: delete_attempts
DELETE FROM attempts WHERE run IN (SELECT j.value FROM $each(:runs) j)

-- name: delete_queue
DELETE FROM queues WHERE task_seq = :task_seq
