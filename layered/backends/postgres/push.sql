-- What tasks of one call have in common travels once: `kind` numbers the combinations.
-- name: insert
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
)
INSERT INTO {schema}.task (
    id, queue, name, state, priority, due_at, created_at, expires_at, max_attempts, max_lost,
    dedup_key, run_id, step, codec, version, metadata, payload, on_end
)
SELECT
    item.id, kind.queue, kind.name, CASE WHEN due.at <= clock.now THEN 3 ELSE 1 END,
    kind.priority, due.at, clock.now, kind.expires_at, kind.max_attempts, kind.max_lost,
    kind.dedup_key, kind.run_id, kind.step, kind.codec, kind.version, item.metadata, item.payload, item.on_end
FROM clock
CROSS JOIN unnest(
    %(ids)s::uuid[], %(kinds)s::integer[], %(metadata)s::text[], %(payloads)s::bytea[],
    %(on_ends)s::bytea[]
) AS item (id, kind, metadata, payload, on_end)
JOIN unnest(
    %(queues)s::text[], %(names)s::text[], %(priorities)s::smallint[], %(delays)s::bigint[],
    %(ats)s::bigint[], %(expiries)s::bigint[], %(max_attempts)s::integer[],
    %(max_lost)s::integer[], %(dedup_keys)s::text[], %(run_ids)s::text[], %(steps)s::text[], %(codecs)s::text[],
    %(versions)s::integer[]
) WITH ORDINALITY AS kind (
    queue, name, priority, delay, at, expires_at, max_attempts, max_lost, dedup_key, run_id, step,
    codec, version, number
) ON kind.number = item.kind
CROSS JOIN LATERAL (
    SELECT coalesce(kind.at, least(clock.now + kind.delay, 253402300799999999)) AS at
) AS due
ON CONFLICT (id) DO NOTHING
RETURNING id::text;

-- name: states
SELECT id::text, state FROM {schema}.task WHERE id = ANY(%(ids)s::uuid[]);

-- name: hold
SELECT {schema}.hold(%(queue)s, %(key)s, %(id)s::uuid, %(window)s)::text;

-- name: replace
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
), due AS MATERIALIZED (
    SELECT coalesce(%(at)s::bigint, least(now + %(delay)s, 253402300799999999)) AS at FROM clock
), held AS (
    UPDATE {schema}.dedup SET until = clock.now + %(window)s FROM clock
    WHERE queue = %(queue)s AND key = %(key)s
)
UPDATE {schema}.task SET
    name = %(name)s, priority = %(priority)s, due_at = due.at, expires_at = %(expires_at)s,
    state = CASE WHEN due.at <= clock.now THEN 3 ELSE 1 END, codec = %(codec)s,
    version = %(version)s, metadata = %(metadata)s, payload = %(payload)s
FROM clock, due
WHERE id = %(id)s::uuid AND state >= 1 AND state <= 3
RETURNING state;
