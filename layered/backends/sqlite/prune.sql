-- name: overdue
SELECT seq, expires_at FROM task INDEXED BY task_expiring
WHERE expires_at IS NOT NULL AND state >= 1 AND state <= 3 AND expires_at <= ?
ORDER BY expires_at LIMIT ?;

-- name: walk
SELECT
    seq, state, created_at, coalesce(finished_at, created_at), payload IS NULL,
    dedup_key IS NOT NULL AND EXISTS (
        SELECT 1 FROM dedup
        WHERE queue = task.queue AND key = task.dedup_key AND dedup.task = task.id AND until > :now
    )
FROM task WHERE seq > :cursor ORDER BY seq LIMIT :most;

-- name: free
DELETE FROM dedup WHERE (queue, key, task) IN (
    SELECT queue, dedup_key, id FROM task WHERE seq IN (SELECT value FROM json_each(:rows))
) AND until <= :now;

-- name: drop
DELETE FROM checkpoint INDEXED BY checkpoint_step WHERE task IN (
    SELECT id FROM task WHERE seq IN (SELECT value FROM json_each(:rows))
);

-- name: strip
UPDATE task SET
    payload = NULL, metadata = NULL, result = NULL, errors = NULL, progress = NULL, on_end = NULL
WHERE seq IN (SELECT value FROM json_each(?));

-- name: delete
DELETE FROM task WHERE seq IN (SELECT value FROM json_each(?));
