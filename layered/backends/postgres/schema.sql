-- Version 1. {schema} is the schema's name. Instants are microseconds since 1970 UTC, as the
-- server's clock tells them; state: the numbers of layered.task.Status.
-- A tombstone has no payload. errors, metadata: JSON as text, for jsonb refuses characters that texts of errors may have.
-- IF NOT EXISTS would want the right to create schemas even where there is nothing to create.
DO $$ BEGIN
    IF to_regnamespace('{schema}') IS NULL THEN
        CREATE SCHEMA {schema};
    END IF;
END $$;

CREATE TABLE {schema}.migration (
    version    integer     NOT NULL PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {schema}.migration (version) VALUES (1);

CREATE TABLE {schema}.task (
    id               uuid     NOT NULL PRIMARY KEY,
    queue            text     NOT NULL,
    name             text     NOT NULL,
    due_at           bigint   NOT NULL,
    created_at       bigint   NOT NULL,
    expires_at       bigint,
    finished_at      bigint,
    lease_until      bigint,
    run_deadline     bigint,
    epoch            bigint   NOT NULL DEFAULT 0,
    claim_id         uuid,
    settled_claim    uuid,
    state            smallint NOT NULL CHECK (state BETWEEN 0 AND 7),
    priority         smallint NOT NULL CHECK (priority BETWEEN 0 AND 9),
    version          integer  NOT NULL,
    attempt          integer  NOT NULL DEFAULT 0,
    max_attempts     integer,
    lost             integer  NOT NULL DEFAULT 0,
    max_lost         integer  NOT NULL,
    cancel_requested boolean  NOT NULL DEFAULT false,
    settled_op       text,
    owner            text,
    codec            text     NOT NULL,
    dedup_key        text,
    run_id           text,
    step             text,
    metadata         text,
    payload          bytea,
    result           bytea,
    progress         bytea,
    on_end           bytea,
    errors           text[],
    CHECK (state <> 4 OR (lease_until IS NOT NULL AND claim_id IS NOT NULL))
) WITH (
    -- Each task is written three times: rows die fast, and claims walk over the dead until a vacuum.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.1
);

-- What may be claimed, in the order of claiming.
CREATE INDEX task_ready ON {schema}.task (queue, name, priority DESC, due_at, id) WHERE state = 3;

-- What is due later: kept out of the way of claims.
CREATE INDEX task_future ON {schema}.task (queue, name, due_at) WHERE state >= 1 AND state <= 2;

-- What is under a lease.
CREATE INDEX task_running ON {schema}.task (lease_until) WHERE state = 4;

-- The few that must not start after an instant.
CREATE INDEX task_expiring ON {schema}.task (expires_at)
    WHERE expires_at IS NOT NULL AND state >= 1 AND state <= 3;

CREATE TABLE {schema}.dedup (
    queue text   NOT NULL,
    key   text   NOT NULL,
    task  uuid   NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (queue, key)
);
CREATE INDEX dedup_task ON {schema}.dedup (task);

CREATE TABLE {schema}.checkpoint (
    task  uuid  NOT NULL,
    step  text  NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (task, step)
);

CREATE TABLE {schema}.queue (
    name   text    NOT NULL PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    until  bigint
);

CREATE TABLE {schema}.worker (
    owner   text   NOT NULL PRIMARY KEY,
    queue   text   NOT NULL,
    about   bytea  NOT NULL,
    every   bigint NOT NULL,
    seen_at bigint NOT NULL
);

-- Gives a key to a task if it is free, and answers which task holds it now. A key is held as long
-- as its task is live or its window (microseconds) open. Who comes at the same time waits for the
-- row; each statement then has a snapshot of its own, and sees what the other has committed.
CREATE FUNCTION {schema}.hold(asked_queue text, asked_key text, asked_task uuid, asked_window bigint)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    held record;
    now constant bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
BEGIN
    LOOP
        INSERT INTO {schema}.dedup (queue, key, task, until)
        VALUES (asked_queue, asked_key, asked_task, now + asked_window)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN asked_task;
        END IF;
        SELECT task, until INTO held FROM {schema}.dedup
        WHERE queue = asked_queue AND key = asked_key FOR UPDATE;
        IF FOUND THEN
            IF held.task <> asked_task AND EXISTS (
                SELECT FROM {schema}.task
                WHERE id = held.task AND (state < 5 OR held.until > now)
            ) THEN
                RETURN held.task;
            END IF;
            UPDATE {schema}.dedup SET
                task = asked_task,
                until = greatest(now + asked_window, CASE task WHEN asked_task THEN until END)
            WHERE queue = asked_queue AND key = asked_key;
            RETURN asked_task;
        END IF;
    END LOOP;
END $$;
