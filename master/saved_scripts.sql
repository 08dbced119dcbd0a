-- Saved scripts and their versions. As in queries.sql, in the part of SQL that SQLite and
-- PostgreSQL share.

-- name: saved_scripts
SELECT s.name, s.description, s.disabled, s.newest, s.changed_by, s.changed_at, (
    SELECT MAX(v.number) FROM script_versions v WHERE v.name = s.name AND v.state = 'online'
)
FROM saved_scripts s ORDER BY s.name

-- name: saved_script
SELECT s.name, s.description, s.disabled, s.newest, s.changed_by, s.changed_at, (
    SELECT MAX(v.number) FROM script_versions v WHERE v.name = s.name AND v.state = 'online'
)
FROM saved_scripts s WHERE s.name = :name

-- name: script_versions
SELECT number, state, script, bytes, note, author, created_at, parameters
FROM script_versions WHERE name = :name ORDER BY number DESC

-- name: script_version
SELECT number, state, script, bytes, note, author, created_at, parameters
FROM script_versions WHERE name = :name AND number = :number

-- name: insert_saved_script
INSERT INTO saved_scripts (name, description, disabled, newest, changed_by, changed_at)
VALUES (:name, :description, FALSE, 0, :by, :now)

-- name: insert_script_version
INSERT INTO script_versions (
    name, number, state, script, bytes, parameters, note, author, created_at
) VALUES (:name, :number, :state, :script, :bytes, :parameters, :note, :by, :now)

-- name: update_saved_script
UPDATE saved_scripts SET description = :description, disabled = :disabled, newest = :newest,
    changed_by = :by, changed_at = :now
WHERE name = :name

-- name: update_script_version
UPDATE script_versions SET state = :state WHERE name = :name AND number = :number

-- name: tasks_of_saved_script
SELECT id, name, saved_version, state, created_at FROM tasks
WHERE saved_script = :name ORDER BY seq DESC LIMIT :limit

-- name: open_tasks_of_saved_script
SELECT id FROM tasks
WHERE saved_script = :name AND ended_at IS NULL AND (waiting > 0 OR mode = 'queue')
  AND (:number IS NULL OR saved_version = :number)
