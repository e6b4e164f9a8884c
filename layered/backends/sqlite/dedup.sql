-- A key is held as long as its task is live or its window open; whatever else is here is free.
-- name: holder
SELECT task.id, task.state FROM dedup CROSS JOIN task
WHERE dedup.queue = ? AND dedup.key = ? AND task.id = dedup.task
    AND (task.state < 5 OR dedup.until > ?);

-- name: hold
INSERT INTO dedup (queue, key, task, until) VALUES (?, ?, ?, ?)
ON CONFLICT (queue, key) DO UPDATE SET task = excluded.task, until = excluded.until;
