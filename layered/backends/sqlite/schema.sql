-- Version 2. Instants are microseconds: lease_until and run_deadline of the machine's monotonic
-- clock, all others since 1970 UTC.
-- state: the numbers of layered.task.Status.
-- Large columns stand last: counting reads only the start of each row.
-- STRICT and the checks refuse what somebody writes by hand and no program here could read:
-- one such row would fail every claim or reaping that meets it, and so hold up all the others.
CREATE TABLE task (
    seq              INTEGER PRIMARY KEY,
    id               TEXT    NOT NULL UNIQUE,
    queue            TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    state            INTEGER NOT NULL CHECK (state BETWEEN 0 AND 7),
    priority         INTEGER NOT NULL,
    due_at           INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    -- The years 1 to 9999.
    expires_at       INTEGER CHECK (expires_at BETWEEN -62135596800000000 AND 253402300799999999),
    finished_at      INTEGER,
    attempt          INTEGER NOT NULL DEFAULT 0 CHECK (attempt BETWEEN 0 AND 1000000000),
    max_attempts     INTEGER,
    lost             INTEGER NOT NULL DEFAULT 0 CHECK (lost BETWEEN 0 AND 1000000000),
    max_lost         INTEGER NOT NULL,
    epoch            INTEGER NOT NULL DEFAULT 0 CHECK (epoch BETWEEN 0 AND 1000000000000000),
    claim_id         BLOB,
    owner            TEXT,
    lease            INTEGER,
    lease_until      INTEGER,
    run_deadline     INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    settled_claim    BLOB,
    settled_op       TEXT,
    dedup_key        TEXT,
    run_id           TEXT,
    step             TEXT,
    codec            TEXT    NOT NULL,
    version          INTEGER NOT NULL,
    metadata         TEXT CHECK (metadata IS NULL OR json_valid(metadata)),
    -- NULL in tombstones.
    payload          BLOB,
    result           BLOB,
    errors           TEXT CHECK (errors IS NULL OR json_valid(errors)),
    progress         BLOB,
    on_end           BLOB,
    CHECK (state <> 4 OR (lease IS NOT NULL AND lease_until IS NOT NULL)),
    CHECK (payload IS NOT NULL OR state >= 5)
) STRICT;

-- What may be claimed, in the order of claiming.
CREATE INDEX task_ready ON task (queue, name, priority DESC, due_at, id) WHERE state = 3;

-- What is due later: kept out of the way of claims.
CREATE INDEX task_future ON task (queue, name, due_at) WHERE state >= 1 AND state <= 2;

-- What is under a lease.
CREATE INDEX task_running ON task (lease_until) WHERE state = 4;

-- The few that must not start after an instant.
CREATE INDEX task_expiring ON task (expires_at) WHERE expires_at IS NOT NULL AND state >= 1 AND state <= 3;

-- Who holds a dedup key, or held it last: a task's end frees it by ending, and writes nothing here.
-- until: the end of its window.
CREATE TABLE dedup (
    queue            TEXT    NOT NULL,
    key              TEXT    NOT NULL,
    task             TEXT    NOT NULL,
    until            INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) STRICT, WITHOUT ROWID;

-- What the steps of a task came to; task: its id.
CREATE TABLE checkpoint (
    task             TEXT    NOT NULL,
    step             TEXT    NOT NULL,
    value            BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX checkpoint_step ON checkpoint (task, step);

-- The queues that a storage was opened for, or that were paused; until: NULL for until resumed.
CREATE TABLE queue (
    name             TEXT    NOT NULL PRIMARY KEY,
    paused           INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    until            INTEGER CHECK (until BETWEEN -62135596800000000 AND 253402300799999999)
) STRICT;

-- The workers; every: microseconds between their signs of life.
CREATE TABLE worker (
    owner            TEXT    NOT NULL PRIMARY KEY,
    queue            TEXT    NOT NULL,
    about            BLOB    NOT NULL,
    every            INTEGER NOT NULL,
    seen_at          INTEGER NOT NULL
        CHECK (seen_at BETWEEN -62135596800000000 AND 253402300799999999)
) STRICT;
