-- A row that is locked is being settled: its lease need not be extended, and nobody waits for it.
-- name: renew
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
), item AS MATERIALIZED (
    SELECT * FROM unnest(
        %(ids)s::uuid[], %(epochs)s::bigint[], %(claims)s::uuid[], %(attempts)s::integer[]
    ) AS each (id, epoch, claim, attempt)
), held AS MATERIALIZED (
    SELECT task.id FROM item JOIN {schema}.task ON task.id = item.id, clock
    WHERE task.epoch = item.epoch AND task.claim_id = item.claim AND task.state + 0 = 4
        AND (task.run_deadline IS NULL OR task.run_deadline >= clock.now)
    FOR NO KEY UPDATE OF task SKIP LOCKED
), renewed AS (
    UPDATE {schema}.task SET
        lease_until = greatest(lease_until, clock.now + %(lease)s),
        attempt = greatest(task.attempt, item.attempt)
    FROM clock CROSS JOIN item
    WHERE task.id = item.id AND task.id IN (SELECT id FROM held)
        AND task.epoch = item.epoch AND task.claim_id = item.claim AND task.state + 0 = 4
)
SELECT task.id::text, task.epoch, replace(task.claim_id::text, '-', ''), task.cancel_requested
FROM item JOIN {schema}.task ON task.id = item.id, clock
WHERE task.epoch = item.epoch AND task.claim_id = item.claim AND task.state + 0 = 4
    AND (task.run_deadline IS NULL OR task.run_deadline >= clock.now);

-- The longest overdue come first. A task comes back after up to 1 s for each worker that it has
-- lost, so that a crowd of them, or the one that kills its workers, does not come back at once.
-- name: reap
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
), overdue AS MATERIALIZED (
    SELECT ctid AS place FROM {schema}.task
    WHERE state = 4
        AND lease_until <= (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
    ORDER BY lease_until LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE {schema}.task SET
    lost = lost + 1,
    state = CASE
        WHEN cancel_requested THEN 7
        WHEN lost + 1 >= max_lost OR attempt >= max_attempts THEN 6
        ELSE 2
    END,
    due_at = CASE
        WHEN cancel_requested OR lost + 1 >= max_lost OR attempt >= max_attempts THEN due_at
        ELSE clock.now + (random() * 1000000 * (lost + 1))::bigint
    END,
    finished_at = CASE
        WHEN cancel_requested OR lost + 1 >= max_lost OR attempt >= max_attempts
            THEN clock.now
    END,
    errors = CASE
        WHEN cancel_requested THEN errors
        ELSE (errors || json_build_array(
            'worker_lost', format('lost worker %%s (%%s of %%s)', owner, lost + 1, max_lost), ''
        )::text)[greatest(1, coalesce(array_length(errors, 1), 0) - 3):]
    END,
    settled_claim = claim_id, settled_op = 'reaped'
FROM clock
WHERE task.ctid = ANY(ARRAY(SELECT place FROM overdue))
    AND task.state + 0 = 4 AND task.lease_until <= clock.now
RETURNING task.id::text, task.name, task.state;
