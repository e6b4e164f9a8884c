-- name: cancel
UPDATE task SET
    state = iif(state = 4, 4, 7), finished_at = iif(state = 4, NULL, ?),
    cancel_requested = (state = 4)
WHERE id = ? AND (state < 4 OR (state = 4 AND NOT cancel_requested))
RETURNING state;

-- name: look
SELECT state, state >= 6 AND payload IS NOT NULL, queue, dedup_key FROM task WHERE id = ?;

-- name: requeue
UPDATE task SET
    state = 3, due_at = ?, attempt = 0, lost = 0, expires_at = NULL, finished_at = NULL,
    cancel_requested = 0, result = NULL
WHERE id = ?;
