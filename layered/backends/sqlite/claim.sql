-- The due time of the next future task of these names: one index seek for each.
-- name: next_due
SELECT min((
    SELECT due_at FROM task INDEXED BY task_future
    WHERE queue = ? AND name = wanted.value AND state >= 1 AND state <= 2
    ORDER BY due_at LIMIT 1
)) FROM json_each(?) AS wanted;

-- name: promote
UPDATE task SET state = 3 WHERE seq IN (
    SELECT seq FROM task INDEXED BY task_future
    WHERE queue = ? AND name = ? AND state >= 1 AND state <= 2 AND due_at <= ?
    ORDER BY due_at LIMIT ?
);

-- name: pick
SELECT
    -priority, due_at, id, seq, expires_at, epoch, name, payload, codec, version, metadata,
    attempt, max_attempts, lost, created_at
FROM task INDEXED BY task_ready
WHERE queue = ? AND name = ? AND state = 3
ORDER BY priority DESC, due_at, id LIMIT ?;

-- name: start
UPDATE task SET
    state = 4, epoch = epoch + 1, attempt = attempt + 1,
    claim_id = ?, owner = ?, lease = ?, lease_until = ?, run_deadline = ?
WHERE seq IN (SELECT value FROM json_each(?));

-- name: expire
UPDATE task SET state = 6, finished_at = ?, errors = noted(errors, ?) WHERE seq = ?;
