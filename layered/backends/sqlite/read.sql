-- name: fetch
SELECT
    task.id, queue, name, state, payload, codec, version, metadata, priority, attempt, max_attempts,
    lost, epoch, owner, due_at, created_at, finished_at, result, errors
FROM json_each(?) AS wanted CROSS JOIN task WHERE task.id = wanted.value;

-- name: ids
SELECT id FROM task WHERE id > ? AND queue = ? AND name = ? ORDER BY id LIMIT ?;

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
