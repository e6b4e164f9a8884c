-- items: a JSON list of [id, epoch, claim_id in hex, attempt].
-- The lease's length is kept too: reaping takes a lease that ends later than that for one from
-- before a reboot.
-- name: renew
UPDATE task SET
    lease_until = max(task.lease_until, :until), lease = max(task.lease, :lease),
    attempt = max(task.attempt, item.attempt)
FROM (
    SELECT
        value ->> 0 AS id, value ->> 1 AS epoch, value ->> 2 AS claim, value ->> 3 AS attempt
    FROM json_each(:items)
) AS item
WHERE task.id = item.id AND task.epoch = item.epoch AND hex(task.claim_id) = item.claim
    AND task.state = 4 AND (task.run_deadline IS NULL OR task.run_deadline >= :mono);

-- Answers one row: a JSON list of [id, epoch, claim_id in hex, cancel_requested].
-- name: renewed
SELECT json_group_array(
    json_array(task.id, task.epoch, hex(task.claim_id), task.cancel_requested)
)
FROM json_each(:items) AS item CROSS JOIN task
WHERE task.id = item.value ->> 0 AND task.epoch = item.value ->> 1
    AND hex(task.claim_id) = item.value ->> 2
    AND task.state = 4 AND (task.run_deadline IS NULL OR task.run_deadline >= :mono);

-- The second part is for leases from before a reboot: the monotonic clock has started anew.
-- name: overdue
SELECT seq, id, name, owner, attempt, max_attempts, lost, max_lost, cancel_requested FROM (
    SELECT * FROM (
        SELECT * FROM task INDEXED BY task_running
        WHERE state = 4 AND lease_until <= :mono ORDER BY lease_until LIMIT :limit
    )
    UNION ALL
    SELECT * FROM (
        SELECT * FROM task INDEXED BY task_running
        WHERE state = 4 AND lease_until > :mono AND lease_until > :mono + lease LIMIT :limit
    )
) LIMIT :limit;

-- name: reap
UPDATE task SET
    state = :state, lost = :lost, due_at = iif(:state = 2, :due, due_at),
    finished_at = iif(:state = 2, NULL, :now),
    errors = iif(:state = 7, errors, noted(errors, :failure)),
    settled_claim = claim_id, settled_op = 'reaped'
WHERE seq = :seq AND state = 4;
