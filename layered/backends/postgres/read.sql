-- name: fetch
SELECT
    id::text, queue, name, state, priority, attempt, max_attempts, lost, epoch, owner, due_at,
    created_at, finished_at, cancel_requested, dedup_key, payload, codec, version, metadata,
    result, errors, progress
FROM {schema}.task WHERE id = ANY(%(ids)s::uuid[]);

-- name: counts
SELECT name, state, count(*) FROM {schema}.task WHERE queue = %(queue)s GROUP BY name, state;

-- A loose scan: one look into the index for each name, whatever the backlog.
-- name: names
WITH RECURSIVE found (name) AS (
    (
        SELECT name FROM {schema}.task WHERE queue = %(queue)s AND state = 3
        ORDER BY queue, name LIMIT 1
    )
    UNION ALL
    SELECT next.name FROM found CROSS JOIN LATERAL (
        SELECT task.name FROM {schema}.task
        WHERE queue = %(queue)s AND state = 3 AND task.name > found.name
        ORDER BY queue, name LIMIT 1
    ) AS next
)
SELECT name FROM found;

-- name: version
SELECT coalesce(max(version), 0) FROM {schema}.migration;
