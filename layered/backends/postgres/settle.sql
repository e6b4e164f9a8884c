-- Each write names the whole fence (id, epoch, claim_id) and the state: without them a worker
-- that lost its lease would write over the run of another. `state + 0` keeps the planner off the
-- index of running rows: rows are found by their key, in the order of the list, which is sorted.
-- name: done
UPDATE {schema}.task SET
    state = 5, result = item.result, attempt = greatest(task.attempt, item.attempt),
    finished_at = (extract(epoch FROM statement_timestamp()) * 1000000)::bigint,
    settled_claim = claim_id, settled_op = 'done'
FROM unnest(
    %(ids)s::uuid[], %(epochs)s::bigint[], %(claims)s::uuid[], %(attempts)s::integer[],
    %(results)s::bytea[]
) AS item (id, epoch, claim, attempt, result)
WHERE task.id = item.id AND task.epoch = item.epoch AND task.claim_id = item.claim
    AND task.state + 0 = 4
RETURNING task.id::text;

-- name: settle
UPDATE {schema}.task SET
    state = CASE
        WHEN item.op = 'done' THEN 5
        WHEN item.op = 'dead' THEN 6
        WHEN item.op = 'cancelled' THEN 7
        WHEN greatest(task.attempt, item.attempt) >= max_attempts THEN 6
        WHEN cancel_requested THEN 7
        ELSE 2
    END,
    due_at = CASE
        WHEN item.op <> 'retry' OR cancel_requested
            OR greatest(task.attempt, item.attempt) >= max_attempts THEN due_at
        ELSE least(clock.now + item.delay, 253402300799999999)
    END,
    finished_at = CASE
        WHEN item.op <> 'retry' OR cancel_requested
            OR greatest(task.attempt, item.attempt) >= max_attempts THEN clock.now
    END,
    errors = CASE
        WHEN item.failure IS NULL THEN errors
        ELSE (errors || item.failure)[greatest(1, coalesce(array_length(errors, 1), 0) - 3):]
    END,
    result = item.result, attempt = greatest(task.attempt, item.attempt),
    settled_claim = claim_id, settled_op = item.op
FROM (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
) AS clock CROSS JOIN unnest(
    %(ids)s::uuid[], %(epochs)s::bigint[], %(claims)s::uuid[], %(attempts)s::integer[],
    %(results)s::bytea[], %(ops)s::text[], %(delays)s::bigint[], %(failures)s::text[]
) AS item (id, epoch, claim, attempt, result, op, delay, failure)
WHERE task.id = item.id AND task.epoch = item.epoch AND task.claim_id = item.claim
    AND task.state + 0 = 4
RETURNING task.id::text, task.state;

-- Without a delay it keeps its place among the ready ones.
-- name: release
UPDATE {schema}.task SET
    state = CASE WHEN cancel_requested THEN 7 WHEN item.delay > 0 THEN 2 ELSE 3 END,
    due_at = CASE
        WHEN cancel_requested OR item.delay = 0 THEN due_at
        ELSE least(clock.now + item.delay, 253402300799999999)
    END,
    finished_at = CASE WHEN cancel_requested THEN clock.now END,
    attempt = greatest(task.attempt, item.attempt) - 1,
    settled_claim = claim_id, settled_op = 'release'
FROM (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
) AS clock CROSS JOIN unnest(
    %(ids)s::uuid[], %(epochs)s::bigint[], %(claims)s::uuid[], %(attempts)s::integer[],
    %(delays)s::bigint[]
) AS item (id, epoch, claim, attempt, delay)
WHERE task.id = item.id AND task.epoch = item.epoch AND task.claim_id = item.claim
    AND task.state + 0 = 4
RETURNING task.id::text, task.state;

-- name: settled
SELECT id::text, replace(settled_claim::text, '-', ''), settled_op, state
FROM {schema}.task WHERE id = ANY(%(ids)s::uuid[]) AND settled_claim IS NOT NULL;
