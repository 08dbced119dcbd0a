-- SQL of how hosts come: join tokens, new keys. As in queries.sql.

-- name: insert_join_token
INSERT INTO join_tokens (
    id, secret_sha256, role, name, labels, by_hand, agent, used, uses_left, created_at, created_by,
    expires_at
) VALUES (
    :id, :secret_sha256, :role, :name, :labels, :by_hand, :agent, 0, :uses_left, :now, :by,
    :expires_at
)

-- name: join_token
-- What it is good for now.
SELECT name, labels, by_hand, agent, uses_left, expires_at FROM join_tokens
WHERE secret_sha256 = :secret_sha256 AND role = :role

-- name: use_join_token
UPDATE join_tokens SET used = used + 1, uses_left = uses_left - 1
WHERE secret_sha256 = :secret_sha256

-- name: join_tokens
SELECT id, role, name, labels, by_hand, agent, used, uses_left, created_at, created_by, expires_at
FROM join_tokens

-- name: count_join_tokens
SELECT COUNT(*) FROM join_tokens

-- name: delete_join_token
DELETE FROM join_tokens WHERE id = :id

-- name: delete_join_tokens_of
DELETE FROM join_tokens WHERE agent = :agent

-- name: delete_expired_join_tokens
DELETE FROM join_tokens WHERE expires_at IS NOT NULL AND expires_at < :before

-- name: rekey_agent
UPDATE agents SET key = :key, row_version = row_version + 1 WHERE id = :id

-- name: count_pending_agents
SELECT COUNT(*) FROM agents a WHERE a.standing = 'pending'
