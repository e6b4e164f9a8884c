-- Summaries and records begin with the same columns.
-- name: fetch
SELECT
    task.id, queue, name, state, priority, attempt, max_attempts, lost, epoch, owner, due_at,
    created_at, finished_at, cancel_requested, dedup_key,
    coalesce(payload, x''), codec, version, metadata, result, errors, progress
FROM json_each(?) AS wanted CROSS JOIN task WHERE task.id = wanted.value;

-- The last id that a page looks at; none, if all that are left are fewer.
-- name: floor
SELECT id FROM task WHERE id < ? ORDER BY id DESC LIMIT 1 OFFSET ?;

-- name: page
SELECT
    id, queue, name, state, priority, attempt, max_attempts, lost, epoch, owner, due_at,
    created_at, finished_at, cancel_requested, dedup_key
FROM task
WHERE id >= :floor AND id < :after
    AND (:queue IS NULL OR queue = :queue)
    AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names)))
    AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
    AND (:since IS NULL OR created_at >= :since)
    AND (:until IS NULL OR created_at < :until)
    AND (:error IS NULL OR errors ->> '$[#-1][0]' = :error)
ORDER BY id DESC LIMIT :limit;
-- name: counts
SELECT name, state, count(*) FROM task WHERE queue = ? GROUP BY name, state;

-- A loose scan: one index seek for each name, whatever the backlog.
-- name: names
WITH RECURSIVE found (name) AS (
    SELECT min(name) FROM task INDEXED BY task_ready WHERE queue = ? AND state = 3
    UNION ALL
    SELECT (
        SELECT min(name) FROM task INDEXED BY task_ready
        WHERE queue = ? AND state = 3 AND task.name > found.name
    ) FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL;
