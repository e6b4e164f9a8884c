-- Takes nothing while a future row of a wanted name is due: it may go before those that are
-- ready, so it has to be promoted first; `promoted` lifts that where it has just been done.
-- Rows are locked inside, one look at the index per name; `ctid` makes the plan independent of
-- statistics. The last row has no id: its due_at is when the next future row is due, its
-- created_at when the queue's pause ends (-1: when resumed), its epoch the time now.
-- name: claim
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
), asked AS MATERIALIZED (
    SELECT * FROM unnest(%(names)s::text[], %(mosts)s::integer[]) AS each (name, most)
), upcoming AS MATERIALIZED (
    SELECT min(future.due_at) AS due
    FROM asked CROSS JOIN LATERAL (
        SELECT due_at FROM {schema}.task
        WHERE queue = %(queue)s AND name = asked.name AND state >= 1 AND state <= 2
        ORDER BY due_at LIMIT 1
    ) AS future
), pause AS MATERIALIZED (
    SELECT coalesce(until, -1) AS until FROM {schema}.queue, clock
    WHERE name = %(queue)s AND paused AND (until IS NULL OR until > clock.now)
), wanted AS MATERIALIZED (
    SELECT asked.* FROM asked, clock, upcoming
    WHERE (%(promoted)s OR coalesce(upcoming.due > clock.now, true))
        AND NOT EXISTS (SELECT FROM pause)
), picked AS MATERIALIZED (
    SELECT row.place, row.expires_at <= clock.now AS expired
    FROM clock CROSS JOIN wanted CROSS JOIN LATERAL (
        SELECT ctid AS place, id, priority, due_at, expires_at FROM {schema}.task
        WHERE queue = %(queue)s AND name = wanted.name AND state = 3
        ORDER BY priority DESC, due_at, id
        LIMIT least(wanted.most, %(most)s::integer)
        FOR UPDATE SKIP LOCKED
    ) AS row
    ORDER BY row.priority DESC, row.due_at, row.id LIMIT %(most)s::integer
), expired AS (
    UPDATE {schema}.task SET
        state = 6, finished_at = clock.now,
        errors = (errors || json_build_array('expired', 'not started by ' || to_char(
            to_timestamp(expires_at / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS+00:00'
        ), '')::text)[greatest(1, coalesce(array_length(errors, 1), 0) - 3):]
    FROM clock
    WHERE task.ctid = ANY(ARRAY(SELECT place FROM picked WHERE expired)) AND task.state = 3
    RETURNING 1
), started AS (
    UPDATE {schema}.task SET
        state = 4, epoch = epoch + 1, attempt = attempt + 1, claim_id = %(claim)s::uuid,
        owner = %(owner)s, lease_until = clock.now + %(lease)s,
        run_deadline = clock.now + %(max_run)s::bigint
    FROM clock
    WHERE task.ctid = ANY(ARRAY(SELECT place FROM picked WHERE expired IS NOT TRUE))
        AND task.state = 3
    RETURNING
        task.id::text, epoch, name, payload, codec, version, metadata, priority, attempt,
        max_attempts, lost, due_at, created_at
)
SELECT * FROM started
UNION ALL
SELECT
    NULL, clock.now, NULL, NULL, NULL, (SELECT count(*) FROM expired)::integer, NULL, NULL, NULL,
    NULL, NULL, upcoming.due, pause.until
FROM clock CROSS JOIN upcoming LEFT JOIN pause ON true;

-- Locked rows are left to whoever has them.
-- name: promote
UPDATE {schema}.task SET state = 3
WHERE ctid = ANY(ARRAY(
    SELECT row.place
    FROM unnest(%(names)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
        SELECT ctid AS place FROM {schema}.task
        WHERE queue = %(queue)s AND name = wanted.name AND state >= 1 AND state <= 2
            AND due_at <= (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
        ORDER BY due_at LIMIT %(most)s::integer
        FOR UPDATE SKIP LOCKED
    ) AS row
)) AND state >= 1 AND state <= 2;
