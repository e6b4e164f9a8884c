-- name: insert
INSERT INTO task (
    id, queue, name, state, priority, due_at, created_at, expires_at, max_attempts, max_lost,
    dedup_key, run_id, step, codec, version, metadata, payload, on_end
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING;

-- name: state
SELECT state FROM task WHERE id = ?;

-- The name belongs to the arguments, as all that says how to read them.
-- name: replace
UPDATE task SET
    name = ?, state = ?, priority = ?, due_at = ?, expires_at = ?, codec = ?, version = ?,
    metadata = ?, payload = ?
WHERE id = ? AND state >= 1 AND state <= 3;
