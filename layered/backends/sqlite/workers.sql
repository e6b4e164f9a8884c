-- name: beat
INSERT INTO worker (owner, queue, about, every, seen_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (owner) DO UPDATE SET
    queue = excluded.queue, about = excluded.about, every = excluded.every,
    seen_at = excluded.seen_at;

-- name: leave
DELETE FROM worker WHERE owner = ?;

-- name: workers
SELECT owner, queue, about, every, seen_at FROM worker ORDER BY owner;

-- name: forget
DELETE FROM worker WHERE seen_at <= ?;
