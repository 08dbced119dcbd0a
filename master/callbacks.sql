-- Callbacks, what they have to deliver, and each try. As in queries.sql, in the part of SQL that
-- SQLite and PostgreSQL share.

-- name: callbacks
SELECT id, name, kind, events, tasks, names, schedules, address, username, sender, recipients,
       active, problem, changed_by, changed_at, key_id, sealed,
       old_secret_until
FROM callbacks c WHERE c.removed_at IS NULL AND lower(c.name) > '' ORDER BY lower(c.name)

-- name: callback_by_id
SELECT id, name, kind, events, tasks, names, schedules, address, username, sender, recipients,
       active, problem, changed_by, changed_at, key_id, sealed,
       old_secret_until
FROM callbacks WHERE id = :id AND removed_at IS NULL

-- name: callback_named
SELECT c.id FROM callbacks c WHERE lower(c.name) = lower(:name) AND c.removed_at IS NULL

-- name: insert_callback
INSERT INTO callbacks (
    id, name, kind, events, tasks, names, schedules, address, username, sender, recipients,
    active, problem, changed_by, changed_at, key_id, sealed, old_secret_until
) VALUES (
    :id, :name, :kind, :events, :tasks, :names, :schedules, :address, :username, :sender,
    :recipients, :active, :problem, :changed_by, :changed_at, :key_id, :sealed,
    :old_secret_until
)

-- name: update_callback
UPDATE callbacks SET
    name = :name, kind = :kind, events = :events, tasks = :tasks, names = :names,
    schedules = :schedules, address = :address, username = :username, sender = :sender,
    recipients = :recipients, active = :active, problem = :problem, changed_by = :changed_by,
    changed_at = :changed_at, key_id = :key_id, sealed = :sealed,
    old_secret_until = :old_secret_until
WHERE id = :id

-- name: remove_callback
-- The row stays while deliveries tell of it; what was secret goes at once.
UPDATE callbacks SET removed_at = :now, active = FALSE, key_id = '', sealed = ''
WHERE id = :id AND removed_at IS NULL

-- name: pause_callback
UPDATE callbacks SET active = FALSE, problem = :problem WHERE id = :id AND removed_at IS NULL

-- name: forget_sealed_callbacks
-- Those that are sealed with another key than this one, which is gone.
UPDATE callbacks SET active = FALSE, key_id = '', sealed = '', problem = :problem
WHERE (key_id < :key_id AND key_id > '') OR key_id > :key_id

-- name: drop_deliveries
UPDATE deliveries SET state = 'dropped', reason = :reason, ended_at = :now
WHERE callback = :callback AND state = 'waiting'

-- name: insert_deliveries
INSERT INTO deliveries (
    id, callback, event, object, path, payload, state, reason, created_at, next_at, tries,
    tries_since, patience_from
)
SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5,
       'waiting', '', :now, :now, 0, 0, :now
FROM json_each(:rows) j

-- name: due_deliveries
SELECT d.id, d.callback, d.path, d.payload FROM deliveries d
WHERE d.callback = :callback AND d.state = 'waiting' AND d.next_at <= :now
ORDER BY d.next_at LIMIT :limit

-- name: delivery_by_id
SELECT d.id, d.callback, c.name, d.event, d.object, d.state, d.reason, d.created_at, d.next_at,
       d.ended_at, d.tries, d.tries_since, d.patience_from, d.path, d.payload
FROM deliveries d CROSS JOIN callbacks c WHERE d.id = :id AND c.id = d.callback

-- name: deliveries_of_callback
SELECT d.id, d.callback, c.name, d.event, d.object, d.state, d.reason, d.created_at, d.next_at,
       d.ended_at, d.tries, d.tries_since, d.patience_from
FROM deliveries d CROSS JOIN callbacks c
WHERE d.callback = :callback AND d.id < :before AND c.id = d.callback
ORDER BY d.id DESC LIMIT :limit

-- name: deliveries_in_state
SELECT d.id, d.callback, c.name, d.event, d.object, d.state, d.reason, d.created_at, d.next_at,
       d.ended_at, d.tries, d.tries_since, d.patience_from
FROM deliveries d CROSS JOIN callbacks c
WHERE d.callback = :callback AND d.state = :state AND d.id < :before AND c.id = d.callback
ORDER BY d.id DESC LIMIT :limit

-- name: count_waiting_deliveries
SELECT COUNT(*) FROM deliveries d WHERE d.callback = :callback AND d.state = 'waiting'

-- name: move_delivery
UPDATE deliveries SET
    state = :state, reason = :reason, next_at = :next_at, ended_at = :ended_at, tries = :tries,
    tries_since = :tries_since, patience_from = :patience_from
WHERE id = :id

-- name: insert_try
INSERT INTO tries (delivery, number, at, took_s, status, error, answer)
VALUES (:delivery, :number, :at, :took_s, :status, :error, :answer)

-- name: tries_of_delivery
SELECT t.number, t.at, t.took_s, t.status, t.error, t.answer FROM tries t
WHERE t.delivery = :delivery ORDER BY t.number

-- name: ended_deliveries
SELECT d.id FROM deliveries d
WHERE d.ended_at < :before ORDER BY d.ended_at LIMIT :limit

-- name: delete_tries
DELETE FROM tries WHERE delivery = :delivery

-- name: delete_delivery
DELETE FROM deliveries WHERE id = :id

-- name: forget_callbacks
DELETE FROM callbacks WHERE id IN (
    SELECT c.id FROM callbacks c
    WHERE c.removed_at < :before
      AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.callback = c.id)
    LIMIT :limit
)

-- name: name_of_schedule
SELECT s.name FROM schedules s WHERE s.id = :id
