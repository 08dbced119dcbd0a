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
