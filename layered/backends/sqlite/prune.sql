-- name: overdue
SELECT seq, expires_at FROM task INDEXED BY task_expiring
WHERE expires_at IS NOT NULL AND state >= 1 AND state <= 3 AND expires_at <= ?
ORDER BY expires_at LIMIT ?;

-- name: walk
SELECT
    seq, state, created_at, coalesce(finished_at, created_at),
    length(payload) > 0 OR metadata IS NOT NULL OR result IS NOT NULL OR errors IS NOT NULL
FROM task WHERE seq > ? ORDER BY seq LIMIT ?;

-- name: strip
UPDATE task SET
    payload = x'', metadata = NULL, result = NULL, errors = NULL, progress = NULL, on_end = NULL
WHERE seq IN (SELECT value FROM json_each(?));

-- name: delete
DELETE FROM task WHERE seq IN (SELECT value FROM json_each(?));
