-- People, the sessions of their browsers, and their tokens. As in queries.sql, in the part of SQL
-- that SQLite and PostgreSQL share.

-- name: insert_person
INSERT INTO people (id, name, name_key, role, hosts, password, disabled, created_at)
VALUES (:id, :name, :name_key, :role, :hosts, :password, FALSE, :now)

-- name: person
SELECT id, name, role, hosts, password, disabled FROM people WHERE id = :id

-- name: person_by_name
SELECT id, name, role, hosts, password, disabled FROM people WHERE name_key = :name_key

-- name: any_person
SELECT 1 FROM people LIMIT 1

-- name: other_admins
SELECT COUNT(*) FROM people WHERE role = 'admin' AND disabled = FALSE AND id <> :id

-- name: update_person
UPDATE people SET role = :role, hosts = :hosts, password = :password, disabled = :disabled
WHERE id = :id

-- name: delete_person
DELETE FROM people WHERE id = :id

-- name: note_login
UPDATE people SET last_login = :now, password = :password WHERE id = :id

-- name: list_people
SELECT p.id, p.name, p.role, p.hosts, p.disabled, p.created_at, p.last_login, (
    SELECT COUNT(*) FROM sessions s
    WHERE s.person = p.id AND s.used_at > :used_after AND s.expires_at > :now
)
FROM people p
WHERE p.name_key > :after ORDER BY p.name_key LIMIT :limit

-- name: shown_person
SELECT p.id, p.name, p.role, p.hosts, p.disabled, p.created_at, p.last_login, (
    SELECT COUNT(*) FROM sessions s
    WHERE s.person = p.id AND s.used_at > :used_after AND s.expires_at > :now
)
FROM people p
WHERE p.id = :id

-- name: insert_session
INSERT INTO sessions (id, secret_sha256, person, token, address, created_at, used_at, expires_at)
VALUES (:id, :secret_sha256, :person, :token, :address, :now, :now, :expires_at)

-- name: session_holder
-- Whom a session lets in now; one that a token has opened is worth what the token is worth.
SELECT s.id, t.id, t.label, t.role, p.id, p.name, p.role, p.hosts
FROM sessions s LEFT JOIN people p ON p.id = s.person LEFT JOIN tokens t ON t.id = s.token
WHERE s.secret_sha256 = :secret_sha256 AND s.used_at > :used_after AND s.expires_at > :now
  AND (s.person IS NULL OR NOT p.disabled)
  AND (s.token IS NULL OR t.revoked_at IS NULL)
  AND (t.expires_at IS NULL OR t.expires_at > :now)

-- name: sessions_of_person
SELECT id, address, created_at, used_at, expires_at FROM sessions
WHERE person = :owner AND used_at > :used_after AND expires_at > :now
ORDER BY used_at DESC

-- name: sessions_of_token
SELECT id, address, created_at, used_at, expires_at FROM sessions
WHERE token = :owner AND used_at > :used_after AND expires_at > :now
ORDER BY used_at DESC

-- name: delete_session_of_person
DELETE FROM sessions WHERE id = :id AND person = :owner

-- name: delete_session_of_token
DELETE FROM sessions WHERE id = :id AND token = :owner

-- name: delete_session_by_secret
DELETE FROM sessions WHERE secret_sha256 = :secret_sha256

-- name: delete_sessions_of_person
-- All, or all but one.
DELETE FROM sessions WHERE person = :owner AND id <> :spared

-- name: delete_sessions_of_token
DELETE FROM sessions WHERE token = :owner AND id <> :spared

-- name: delete_least_used_sessions_of_person
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions WHERE person = :owner ORDER BY used_at DESC LIMIT 1000 OFFSET :most
)

-- name: delete_least_used_sessions_of_token
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions WHERE token = :owner ORDER BY used_at DESC LIMIT 1000 OFFSET :most
)

-- name: delete_expired_sessions
DELETE FROM sessions WHERE expires_at <= :now

-- name: note_sessions_used
UPDATE sessions SET used_at = new.used_at
FROM (
    SELECT j.value ->> 0 AS id, CAST(j.value ->> 1 AS DOUBLE PRECISION) AS used_at
    FROM $each(:rows) j
) AS new
WHERE sessions.id = new.id AND sessions.used_at < new.used_at

-- name: insert_api_token
INSERT INTO tokens (
    id, kind, secret_sha256, role, label, labels, created_at, owner, expires_at
) VALUES (:id, 'api', :secret_sha256, :role, :label, '{}', :now, :owner, :expires_at)

-- name: any_api_token
SELECT 1 FROM tokens WHERE kind = 'api' LIMIT 1

-- name: token_holder
-- Whom a token lets in now: it acts for its owner, who must not be disabled.
SELECT t.id, t.label, t.role, p.id, p.name, p.role, p.hosts
FROM tokens t LEFT JOIN people p ON p.id = t.owner
WHERE t.secret_sha256 = :secret_sha256 AND t.kind = 'api' AND t.revoked_at IS NULL
  AND (t.expires_at IS NULL OR t.expires_at > :now) AND (t.owner IS NULL OR NOT p.disabled)

-- name: expiry_of_token
SELECT expires_at FROM tokens WHERE id = :id AND revoked_at IS NULL

-- name: list_tokens
SELECT t.id, t.label, t.role, p.name, p.role, p.disabled,
       t.created_at, t.expires_at, t.used_at, t.revoked_at
FROM tokens t LEFT JOIN people p ON p.id = t.owner
WHERE t.kind = 'api' AND (t.created_at, t.id) < (:before, :before_id)
ORDER BY t.created_at DESC, t.id DESC LIMIT :limit

-- name: list_tokens_of_owner
SELECT t.id, t.label, t.role, p.name, p.role, p.disabled,
       t.created_at, t.expires_at, t.used_at, t.revoked_at
FROM tokens t CROSS JOIN people p
WHERE t.owner = :owner AND (t.created_at, t.id) < (:before, :before_id) AND p.id = t.owner
ORDER BY t.created_at DESC, t.id DESC LIMIT :limit

-- name: shown_token
SELECT t.id, t.label, t.role, p.name, p.role, p.disabled,
       t.created_at, t.expires_at, t.used_at, t.revoked_at
FROM tokens t LEFT JOIN people p ON p.id = t.owner
WHERE t.id = :id AND t.kind = 'api'

-- name: count_tokens_of_owner
SELECT COUNT(*) FROM tokens WHERE owner = :owner

-- name: delete_ended_tokens
DELETE FROM tokens WHERE owner = :owner AND (revoked_at < :before OR expires_at < :before)

-- name: revoke_api_token
UPDATE tokens SET revoked_at = COALESCE(revoked_at, :now) WHERE id = :id AND kind = 'api'

-- name: revoke_token_of_owner
UPDATE tokens SET revoked_at = COALESCE(revoked_at, :now)
WHERE id = :id AND kind = 'api' AND owner = :owner

-- name: delete_tokens_of_owner
DELETE FROM tokens WHERE owner = :owner

-- name: note_tokens_used
UPDATE tokens SET used_at = new.used_at
FROM (
    SELECT j.value ->> 0 AS id, CAST(j.value ->> 1 AS DOUBLE PRECISION) AS used_at
    FROM $each(:rows) j
) AS new
WHERE tokens.id = new.id AND (tokens.used_at IS NULL OR tokens.used_at < new.used_at)
