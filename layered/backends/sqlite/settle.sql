-- Each write names the whole fence (id, epoch, claim_id) and the state: without them a worker
-- that lost its lease would write over the run of another.
-- name: done
UPDATE task SET
    state = 5, result = ?, attempt = max(attempt, ?), finished_at = ?,
    settled_claim = claim_id, settled_op = 'done'
WHERE id = ? AND epoch = ? AND claim_id = ? AND state = 4;

-- The same for many runs in one step; {rows}: (result, attempt, now, id, epoch, claim_id), …
-- name: all_done
UPDATE task SET
    state = 5, result = item.column1, attempt = max(attempt, item.column2),
    finished_at = item.column3, settled_claim = claim_id, settled_op = 'done'
FROM (VALUES {rows}) AS item
WHERE id = item.column4 AND epoch = item.column5 AND claim_id = item.column6 AND state = 4;

-- name: dead
UPDATE task SET
    state = 6, errors = noted(errors, ?), attempt = max(attempt, ?), finished_at = ?,
    settled_claim = claim_id, settled_op = 'dead'
WHERE id = ? AND epoch = ? AND claim_id = ? AND state = 4;

-- name: cancelled
UPDATE task SET
    state = 7, attempt = max(attempt, ?), finished_at = ?,
    settled_claim = claim_id, settled_op = 'cancelled'
WHERE id = ? AND epoch = ? AND claim_id = ? AND state = 4;

-- name: retry
UPDATE task SET
    state = CASE
        WHEN max(attempt, :attempt) >= max_attempts THEN 6 WHEN cancel_requested THEN 7 ELSE 2
    END,
    due_at = iif(cancel_requested OR max(attempt, :attempt) >= max_attempts, due_at, :due),
    finished_at = iif(cancel_requested OR max(attempt, :attempt) >= max_attempts, :now, NULL),
    errors = noted(errors, :failure), attempt = max(attempt, :attempt),
    settled_claim = claim_id, settled_op = 'retry'
WHERE id = :id AND epoch = :epoch AND claim_id = :claim AND state = 4
RETURNING state;

-- Without a delay it keeps its place among the ready ones.
-- name: release
UPDATE task SET
    state = CASE WHEN cancel_requested THEN 7 WHEN :delayed THEN 2 ELSE 3 END,
    due_at = iif(:delayed AND NOT cancel_requested, :due, due_at),
    finished_at = iif(cancel_requested, :now, NULL),
    attempt = max(attempt, :attempt) - 1,
    settled_claim = claim_id, settled_op = 'release'
WHERE id = :id AND epoch = :epoch AND claim_id = :claim AND state = 4
RETURNING state;

-- name: settled
SELECT state FROM task WHERE id = ? AND settled_claim = ? AND settled_op = ?;
