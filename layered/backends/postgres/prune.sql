-- Found by `ctid`, here as below: the plan must not depend on how many rows are expected.
-- name: sweep
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
), overdue AS MATERIALIZED (
    SELECT ctid AS place FROM {schema}.task
    WHERE expires_at IS NOT NULL AND state >= 1 AND state <= 3
        AND expires_at <= (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
    ORDER BY expires_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE {schema}.task SET
    state = 6, finished_at = clock.now,
    errors = (errors || json_build_array('expired', 'not started by ' || to_char(
        to_timestamp(expires_at / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS+00:00'
    ), '')::text)[greatest(1, coalesce(array_length(errors, 1), 0) - 3):]
FROM clock
WHERE task.ctid = ANY(ARRAY(SELECT place FROM overdue)) AND task.state >= 1 AND task.state <= 3
RETURNING 1;

-- A step of the walk in the order of ids: rows, and of each what is due to it. It takes up
-- the last row of the step before: beyond it, the first step would not find the least id there is.
-- By `task.id`: `id` alone is the text, and sorting by that reads the whole table.
-- 0: nothing, and too young to be past any retention; 1: nothing; 2: to be stripped; 3: to go.
-- name: walk
SELECT
    id::text,
    CASE
        WHEN state < 5 THEN (created_at <= now - %(least)s)::integer
        WHEN coalesce(finished_at, created_at)
            > now - CASE WHEN state = 6 THEN %(dead)s ELSE %(done)s END::bigint
            THEN (created_at <= now - %(least)s)::integer
        WHEN coalesce(finished_at, created_at) <= now - %(tombstone)s THEN 3
        WHEN payload IS NOT NULL THEN 2
        ELSE 1
    END
FROM {schema}.task, (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
) AS clock
WHERE id >= %(after)s::uuid ORDER BY task.id LIMIT %(limit)s;

-- name: strip
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
), keys AS MATERIALIZED (
    SELECT key.place FROM unnest(%(ids)s::uuid[]) AS gone (id) CROSS JOIN LATERAL (
        SELECT ctid AS place FROM {schema}.dedup WHERE task = gone.id OFFSET 0
    ) AS key
), steps AS MATERIALIZED (
    SELECT step.place FROM unnest(%(ids)s::uuid[]) AS gone (id) CROSS JOIN LATERAL (
        SELECT ctid AS place FROM {schema}.checkpoint WHERE task = gone.id OFFSET 0
    ) AS step
), forgotten AS (
    DELETE FROM {schema}.dedup USING clock
    WHERE dedup.ctid = ANY(ARRAY(SELECT place FROM keys)) AND task = ANY(%(ids)s::uuid[])
        AND until <= clock.now
), dropped AS (
    DELETE FROM {schema}.checkpoint WHERE ctid = ANY(ARRAY(SELECT place FROM steps))
)
UPDATE {schema}.task SET
    payload = NULL, metadata = NULL, result = NULL, errors = NULL, progress = NULL, on_end = NULL
WHERE id = ANY(%(ids)s::uuid[]) AND state >= 5;

-- What holds a key by an open window stays, so that the key is held.
-- name: delete
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
), keys AS MATERIALIZED (
    SELECT key.* FROM unnest(%(ids)s::uuid[]) AS gone (id) CROSS JOIN LATERAL (
        SELECT ctid AS place, task, until FROM {schema}.dedup WHERE task = gone.id OFFSET 0
    ) AS key
), steps AS MATERIALIZED (
    SELECT step.place FROM unnest(%(ids)s::uuid[]) AS gone (id) CROSS JOIN LATERAL (
        SELECT ctid AS place FROM {schema}.checkpoint WHERE task = gone.id OFFSET 0
    ) AS step
), forgotten AS (
    DELETE FROM {schema}.dedup USING clock
    WHERE dedup.ctid = ANY(ARRAY(SELECT place FROM keys)) AND task = ANY(%(ids)s::uuid[])
        AND until <= clock.now
), dropped AS (
    DELETE FROM {schema}.checkpoint WHERE ctid = ANY(ARRAY(SELECT place FROM steps))
)
DELETE FROM {schema}.task
WHERE id = ANY(%(ids)s::uuid[]) AND state >= 5
    AND id NOT IN (SELECT task FROM keys, clock WHERE until > clock.now);

-- name: forget
DELETE FROM {schema}.worker
WHERE seen_at <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 86400000000;

-- The oldest transaction that holds back vacuum in this database, by a snapshot or by what it has
-- written; others' only for those who may see them (pg_read_all_stats). Vacuum itself does not.
-- name: oldest
SELECT pid, application_name, extract(epoch FROM pg_catalog.clock_timestamp() - xact_start)::float
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
    AND xact_start < pg_catalog.clock_timestamp() - make_interval(secs => %(seconds)s)
ORDER BY xact_start LIMIT 1;
