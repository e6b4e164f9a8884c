-- name: cancel
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
), asked AS MATERIALIZED (
    SELECT id FROM {schema}.task WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE
)
UPDATE {schema}.task SET
    state = CASE state WHEN 4 THEN 4 ELSE 7 END, cancel_requested = (state = 4),
    finished_at = CASE state WHEN 4 THEN NULL ELSE clock.now END
FROM clock, asked
WHERE task.id = asked.id AND (state < 4 OR (state = 4 AND NOT cancel_requested))
RETURNING task.id::text, state;

-- name: requeue
WITH asked AS MATERIALIZED (
    SELECT id FROM {schema}.task WHERE id = ANY(%(ids)s::uuid[]) ORDER BY task.id FOR UPDATE
)
UPDATE {schema}.task SET
    state = 3, due_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, attempt = 0,
    lost = 0, expires_at = NULL, finished_at = NULL, cancel_requested = false, result = NULL
FROM asked
WHERE task.id = asked.id AND state >= 6 AND payload IS NOT NULL
RETURNING task.id::text, state;

-- Locked, so that what is found holds until the requeue.
-- name: keyed
SELECT id::text, queue, dedup_key FROM {schema}.task
WHERE id = ANY(%(ids)s::uuid[]) AND state >= 6 AND payload IS NOT NULL AND dedup_key IS NOT NULL
ORDER BY id FOR UPDATE;
