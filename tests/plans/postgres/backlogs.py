"""Schemas of PostgreSQL with a backlog of one kind, made by a few statements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg

from layered.backends.postgres.migrate import statements

SETTINGS = {
    "autovacuum": "off",  # what the planner knows is up to the tests
    "maintenance_work_mem": "256MB",
    "max_wal_senders": "0",
    "shared_buffers": "256MB",
    "wal_level": "minimal",
}
"""Of a server that is filled quickly."""


class Backlog(NamedTuple):
    """
    The tasks of a backlog; *i* counts them.

    Args:
        state: SQL for the state of task *i*.
        name: SQL for its name; "a" and "b" are those that claims want.
        due: Whether a claim finds tasks.
        ended: Whether the oldest tasks have ended.
        future: SQL for the microseconds until it is due, or its lease ends.
        expires: SQL for the instant after which it must not start.
    """

    state: str
    name: str
    due: bool
    ended: bool = False
    future: str = "-1000000"
    expires: str = "NULL"


BACKLOGS: Mapping[str, Backlog] = {
    "all due": Backlog("3", "'a'", due=True),
    "all scheduled": Backlog("1", "'a'", due=False, future="1000000000000"),
    "all to be promoted": Backlog("1 + i % 2", "'a'", due=True),
    "all of an unregistered name": Backlog("3", "'foreign'", due=False),
    "mixed": Backlog(
        """CASE WHEN i > 2000 AND i <= 2200 THEN 4 WHEN i % 8 IN (2, 3) THEN i % 8 - 1
        WHEN i % 8 >= 5 THEN i % 8 ELSE 3 END""",
        "CASE i % 8 WHEN 4 THEN 'foreign' WHEN 1 THEN 'b' ELSE 'a' END",
        due=True,
        ended=True,
        future="CASE i % 8 WHEN 2 THEN 1000000000000 ELSE -1000000 END",
        expires="CASE i % 16 WHEN 0 THEN now + 100000000000000 END",
    ),
    "mostly finished": Backlog(
        "CASE i % 100 WHEN 0 THEN 3 ELSE 5 END", "'a'", due=True, ended=True
    ),
    "all running": Backlog("4", "'a'", due=False, future="1000000000000"),
    "all lost or expired": Backlog("3 + i % 2", "'a'", due=False, expires="now - 1000000"),
}

_FILL = """
INSERT INTO {schema}.task (
    id, queue, name, state, priority, due_at, created_at, expires_at, finished_at, attempt, epoch,
    claim_id, owner, lease_until, settled_claim, settled_op, dedup_key, max_lost, codec, version,
    payload, result
)
SELECT
    id, 'default', name, state, i % 10, now + future - {size} + i, now - {size}, expires,
    CASE WHEN state > 4 THEN now - {size} END, ran::integer, ran::integer,
    CASE WHEN ran THEN id END, CASE WHEN ran THEN 'worker' END,
    CASE WHEN ran THEN now + future - {size} + i END, CASE WHEN state > 4 THEN id END,
    CASE WHEN state > 4 THEN 'done' END, CASE i % 3 WHEN 0 THEN 'key ' || i END, 3, 'json', 1,
    '1'::bytea, CASE WHEN state = 5 THEN '1'::bytea END
FROM (
    SELECT i, now, {state} AS state, {name} AS name, {state} >= 4 AS ran, {future} AS future,
        {expires}::bigint AS expires,
        ('018bcfe5-6800-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS id
    FROM generate_series(1, {size}) AS i,
        (SELECT (extract(epoch FROM now()) * 1000000)::bigint AS now) AS clock
) AS each
"""
_BESIDE = """
INSERT INTO {schema}.dedup SELECT queue, dedup_key, id, 0 FROM {schema}.task
WHERE dedup_key IS NOT NULL;
INSERT INTO {schema}.checkpoint SELECT id, 'step', '1' FROM {schema}.task
WHERE dedup_key IS NOT NULL;
"""
"""Every third task has a key and a checkpoint."""
_INDEXES = """
SELECT pg_get_indexdef(indexrelid), indexrelid::regclass::text FROM pg_index
WHERE indrelid = '{schema}.task'::regclass AND NOT indisprimary
"""


def make(admin: psycopg.Connection[Any], schema: str, kind: str, size: int) -> None:
    """Make a schema with *size* tasks, in some 3 seconds for a million; no statistics."""
    values = {"schema": schema, "size": size, **BACKLOGS[kind]._asdict()}
    for statement in statements(schema):
        admin.execute(statement.encode())
    for table in ("checkpoint", "dedup", "task"):
        admin.execute(f"ALTER TABLE {schema}.{table} SET UNLOGGED".encode())
    indexes = admin.execute(_INDEXES.format(**values).encode()).fetchall()
    for _, name in indexes:
        admin.execute(f"DROP INDEX {name}".encode())
    for statement in (_FILL, _BESIDE):
        admin.execute(statement.format(**values).encode())
    for definition, _ in indexes:
        admin.execute(definition.encode())
    admin.execute("CHECKPOINT")
