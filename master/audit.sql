-- SQL of the audit log, see queries.sql and master/audit.py.

-- name: last_audit
SELECT seq, hash FROM audit WHERE seq = (SELECT MAX(a.seq) FROM audit a)

-- name: insert_audit
INSERT INTO audit (
    seq, hash, at_ms, who, kind, credential, address, action, object, result, detail
)
SELECT CAST(j.value ->> 0 AS BIGINT), j.value ->> 1, CAST(j.value ->> 2 AS BIGINT),
       j.value ->> 3, j.value ->> 4, j.value ->> 5, j.value ->> 6, j.value ->> 7,
       j.value ->> 8, j.value ->> 9, j.value ->> 10
FROM $each(:rows) j

-- name: scan_audit
-- Newest first; the walks of one person and of one object have indexes of their own.
SELECT seq, at_ms, who, kind, credential, address, action, object, result, detail, hash
FROM audit
WHERE (at_ms, seq) < (:at_ms, :seq) AND at_ms >= :since
ORDER BY at_ms DESC, seq DESC LIMIT :limit

-- name: scan_audit_of_person
SELECT seq, at_ms, who, kind, credential, address, action, object, result, detail, hash
FROM audit
WHERE who = :who AND (at_ms, seq) < (:at_ms, :seq) AND at_ms >= :since
ORDER BY at_ms DESC, seq DESC LIMIT :limit

-- name: scan_audit_of_object
SELECT seq, at_ms, who, kind, credential, address, action, object, result, detail, hash
FROM audit
WHERE object = :object AND (at_ms, seq) < (:at_ms, :seq) AND at_ms >= :since
ORDER BY at_ms DESC, seq DESC LIMIT :limit
