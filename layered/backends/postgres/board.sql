-- name: register
INSERT INTO {schema}.queue (name) VALUES (%(queue)s) ON CONFLICT (name) DO NOTHING;

-- name: queues
SELECT name, paused AND (until IS NULL OR until > clock.now), until
FROM {schema}.queue, (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
) AS clock
ORDER BY name;

-- name: pause
INSERT INTO {schema}.queue (name, paused, until) VALUES (%(queue)s, true, %(until)s)
ON CONFLICT (name) DO UPDATE SET paused = true, until = excluded.until;

-- name: resume
UPDATE {schema}.queue SET paused = false, until = NULL WHERE name = %(queue)s;

-- name: beat
INSERT INTO {schema}.worker (owner, queue, about, every, seen_at) VALUES (
    %(owner)s, %(queue)s, %(about)s, %(every)s,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
)
ON CONFLICT (owner) DO UPDATE SET
    queue = excluded.queue, about = excluded.about, every = excluded.every,
    seen_at = excluded.seen_at;

-- name: leave
DELETE FROM {schema}.worker WHERE owner = %(owner)s;

-- Alive: seen less than three beats ago.
-- name: workers
SELECT
    owner, queue, about, seen_at,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - seen_at < 3 * every
FROM {schema}.worker ORDER BY owner;

-- name: holder
SELECT task.id::text FROM {schema}.dedup JOIN {schema}.task ON task.id = dedup.task
WHERE dedup.queue = %(queue)s AND dedup.key = %(key)s AND (
    task.state < 5
    OR dedup.until > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
);

-- The floor is the last row that this page may look at; what is asked for is looked for down to it.
-- name: page
SELECT floor.id::text, found.* FROM (
    SELECT (
        SELECT id FROM {schema}.task WHERE id < %(after)s::uuid
        ORDER BY id DESC OFFSET %(scanned)s - 1 LIMIT 1
    ) AS id
) AS floor LEFT JOIN LATERAL (
    SELECT
        task.id::text, queue, name, state, priority, attempt, max_attempts, lost, epoch, owner,
        due_at, created_at, finished_at, cancel_requested, dedup_key
    FROM {schema}.task
    WHERE task.id < %(after)s::uuid
        AND task.id >= coalesce(floor.id, '00000000-0000-0000-0000-000000000000')
        AND (%(queue)s::text IS NULL OR queue = %(queue)s)
        AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s::text[]))
        AND (%(states)s::smallint[] IS NULL OR state = ANY(%(states)s::smallint[]))
        AND (%(since)s::bigint IS NULL OR created_at >= %(since)s)
        AND (%(until)s::bigint IS NULL OR created_at < %(until)s)
        AND (%(error)s::text IS NULL OR starts_with(errors[array_length(errors, 1)], %(error)s))
    ORDER BY task.id DESC LIMIT %(limit)s
) AS found ON true
ORDER BY found.id DESC;
