-- name: register
INSERT INTO queue (name) VALUES (?) ON CONFLICT (name) DO NOTHING;

-- name: paused
SELECT until FROM queue WHERE name = ? AND paused AND (until IS NULL OR until > ?);

-- name: queues
SELECT name, paused AND (until IS NULL OR until > ?), until FROM queue ORDER BY name;

-- name: pause
INSERT INTO queue (name, paused, until) VALUES (?, 1, ?)
ON CONFLICT (name) DO UPDATE SET paused = 1, until = excluded.until;

-- name: resume
UPDATE queue SET paused = 0, until = NULL WHERE name = ?;
