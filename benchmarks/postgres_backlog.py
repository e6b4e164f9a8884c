"""
What does a claim in PostgreSQL cost among a thousand tasks, and among a million?

A claim of 100 by `PostgresStorage`, as its caller waits for it; then these
are ended and 100 others pushed, untimed, so that the backlog stays as long.
Mixed are 3 of 8 that may be claimed, 1 of 8 of a name that nobody handles,
2 of 8 for later, and 2 of 8 that have ended.
"""

from __future__ import annotations

from time import perf_counter

import psycopg
from psycopg import sql

from benchmarks.mail import MAIL, Mail
from benchmarks.postgres_server import database, in_force, server
from benchmarks.table import Line, Table
from layered import PostgresStorage
from layered.backend import Claimant, Done, Settle

LOOPS = ("asyncio",)
SIZES = (1000, 1_000_000)
BATCH, SAMPLES = 100, 200
BACKLOGS = {
    "all due": ("3", "'Mail'"),
    "mixed": (
        "CASE WHEN i % 8 < 4 THEN 3 WHEN i % 8 < 6 THEN 1 ELSE 5 END",
        "CASE i % 8 WHEN 0 THEN 'foreign' ELSE 'Mail' END",
    ),
}
"""SQL for the state and the name of task *i*."""
FILL = """
INSERT INTO layered.task (
    id, queue, name, state, priority, due_at, created_at, finished_at, max_lost, codec, version,
    payload
)
SELECT
    ('018bcfe5-6800-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'default', {name}, {state},
    5, now - {size} + i + CASE WHEN {state} = 1 THEN 1000000000000 ELSE 0 END, now - {size},
    CASE WHEN {state} = 5 THEN now END, 3, 'json', 1, {payload}
FROM generate_series(1, {size}) AS i,
    (SELECT (extract(epoch FROM now()) * 1000000)::bigint AS now) AS clock
"""


async def measure() -> list[Table]:
    """Compare the sizes, for each kind of backlog."""
    lines: list[Line] = []
    with server() as running:
        for kind in BACKLOGS:
            few: list[float] = []
            for size in SIZES:
                with database(running) as dsn:
                    waited = await _claims(dsn, kind, size)
                for name, at in (("p50", SAMPLES // 2), ("p99", SAMPLES * 99 // 100)):
                    floor = few[at] if few else None
                    lines.append(Line(f"{kind}, {size:,} tasks, {name}", waited[at], floor))
                few = few or waited
        note = in_force(running)
    title = f"In PostgreSQL: a claim of {BATCH} among a backlog"
    return [Table("postgres_backlog", title, lines, notes=[note])]


async def _claims(dsn: str, kind: str, size: int) -> list[float]:
    """Answer how long each claim took, sorted."""
    claimant, waited = Claimant("default", "bench"), []
    async with PostgresStorage(dsn, Mail) as storage:
        _fill(dsn, kind, size)
        for _ in range(SAMPLES):
            start = perf_counter()
            claimed = await storage.claim(claimant, {"Mail": BATCH}, BATCH)
            waited.append(perf_counter() - start)
            assert len(claimed.leases) == BATCH
            await storage.settle([Settle(lease.fence, Done(None), 1) for lease in claimed.leases])
            await storage.push_many([MAIL] * BATCH)
    return sorted(waited)


def _fill(dsn: str, kind: str, size: int) -> None:
    state, name = BACKLOGS[kind]
    payload = b'{"id":1,"to":"ada.lovelace@example.org","subject":"What the engine can do"}'
    parts = {"state": sql.SQL(state), "name": sql.SQL(name)}
    values = {"size": sql.Literal(size), "payload": sql.Literal(payload)}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(FILL).format(**parts, **values))
        connection.execute("VACUUM ANALYZE layered.task")
        connection.execute("CHECKPOINT")
