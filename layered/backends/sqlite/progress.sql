-- name: progress
UPDATE task SET progress = ? WHERE id = ? AND epoch = ? AND claim_id = ? AND state = 4;

-- name: keep
INSERT INTO checkpoint (task, step, value)
SELECT id, ?, ? FROM task WHERE id = ? AND epoch = ? AND claim_id = ? AND state = 4
ON CONFLICT (task, step) DO NOTHING;

-- name: kept
SELECT checkpoint.value FROM task CROSS JOIN checkpoint
WHERE task.id = ? AND task.epoch = ? AND task.claim_id = ? AND task.state = 4
    AND checkpoint.task = task.id AND checkpoint.step = ?;

-- name: steps
SELECT step, value FROM checkpoint WHERE task = ?;
