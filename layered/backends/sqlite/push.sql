-- name: insert
INSERT INTO task (
    id, queue, name, state, priority, due_at, created_at, expires_at, max_attempts, max_lost,
    dedup_key, run_id, step, codec, version, metadata, payload, on_end
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING;

-- name: state
SELECT state FROM task WHERE id = ?;

-- The name and the codec belong to the arguments.
-- name: replace
UPDATE task SET
    name = :name, codec = :codec, version = :version, payload = :payload, priority = :priority,
    due_at = :due, state = iif(state = 0, 0, :state)
WHERE id = :id AND state < 4
RETURNING state;
