-- What a run writes of itself, by its fence.
-- name: progress
UPDATE {schema}.task SET progress = %(value)s
WHERE id = %(id)s::uuid AND epoch = %(epoch)s AND claim_id = %(claim)s::uuid AND state + 0 = 4;

-- Locked, so that no other run comes in between.
-- name: fenced
SELECT id FROM {schema}.task
WHERE id = %(id)s::uuid AND epoch = %(epoch)s AND claim_id = %(claim)s::uuid AND state + 0 = 4
FOR SHARE;

-- name: keep
INSERT INTO {schema}.checkpoint (task, step, value) VALUES (%(id)s::uuid, %(step)s, %(value)s)
ON CONFLICT (task, step) DO NOTHING;

-- name: kept
SELECT value FROM {schema}.checkpoint WHERE task = %(id)s::uuid AND step = %(step)s;

-- name: steps
SELECT step, value FROM {schema}.checkpoint WHERE task = %(id)s::uuid;
