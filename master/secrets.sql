-- name: insert_secret
INSERT INTO secrets (task, name, kind, key_id, content)
VALUES (:task, :name, :kind, :key_id, :content)

-- name: secrets_of_task
SELECT name, kind, key_id, content FROM secrets WHERE task = :task ORDER BY name

-- name: other_secret_key
-- A key that something is sealed with, and that is not this one.
SELECT key_id FROM secrets WHERE key_id < :key_id OR key_id > :key_id
UNION ALL
SELECT key_id FROM callbacks WHERE (key_id < :key_id AND key_id > '') OR key_id > :key_id
UNION ALL
SELECT key_id FROM plans WHERE key_id < :key_id OR key_id > :key_id
UNION ALL
SELECT key_id FROM schedules WHERE key_id < :key_id OR key_id > :key_id
LIMIT 1

-- name: delete_other_secrets
DELETE FROM secrets WHERE key_id < :key_id OR key_id > :key_id

-- name: delete_secrets
DELETE FROM secrets WHERE task = :task
