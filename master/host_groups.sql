-- Saved groups of hosts. As in queries.sql, in the part of SQL that SQLite and PostgreSQL share.

-- name: host_groups
-- All of them: there are at most a thousand, and what one means may take any of them.
SELECT name, hosts, note, changed_by, changed_at FROM host_groups g ORDER BY name

-- name: host_group
SELECT name, hosts, note, changed_by, changed_at FROM host_groups WHERE name = :name

-- name: insert_host_group
INSERT INTO host_groups (name, hosts, note, changed_by, changed_at)
VALUES (:name, :hosts, :note, :by, :now)

-- name: update_host_group
UPDATE host_groups SET hosts = :hosts, note = :note, changed_by = :by, changed_at = :now
WHERE name = :name

-- name: delete_host_group
DELETE FROM host_groups WHERE name = :name

-- name: people_with_limits
SELECT name, hosts FROM people WHERE hosts IS NOT NULL
