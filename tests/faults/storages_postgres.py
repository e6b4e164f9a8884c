"""Storages of PostgreSQL for worker processes: with bad luck, or with one fault each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import psycopg
from psycopg.conninfo import make_conninfo

from layered import PostgresStorage, Status
from layered.backend import (
    APPLIED,
    STALE,
    Answer,
    Claimant,
    Claimed,
    Reaped,
    Release,
    Settle,
    Verdict,
)
from layered.backends.postgres import prune
from tests.faults.bad_luck import Deadly, Late, ReapsNothing
from tests.faults.setting import PlainUnit, Unit


class DeadlyStorage(Deadly, PostgresStorage[Unit]):
    """Dies at points of a run."""


class LateStorage(Late, PostgresStorage[Unit]):
    """Has no keeper at first."""


class Reapless(ReapsNothing, PostgresStorage[Unit | PlainUnit]):
    """Does not reap."""


class Impatient(PostgresStorage[Unit | PlainUnit]):
    """Warns of transactions that have been open for a second."""

    def __init__(self, dsn: str, args: Any, *, schema: str) -> None:
        super().__init__(dsn, args, schema=schema)
        prune.OLD = 1.0


class KeptInTheLoop(PostgresStorage[Unit | PlainUnit]):
    """Has its leases renewed in the event loop of the handlers."""

    threaded_keeper: ClassVar[bool] = False


class Stranding(PostgresStorage[Unit | PlainUnit]):
    """Says that it took tasks back, and did not."""

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        """Do nothing."""
        return [Answer(Verdict.APPLIED, Status.READY) for _ in items]


class Meddling(PostgresStorage[Unit | PlainUnit]):
    """Writes beside its lanes, for those below."""

    def __init__(self, dsn: str, args: Any, *, schema: str) -> None:
        super().__init__(dsn, args, schema=schema)
        self._beside = make_conninfo(dsn, options=f"-c search_path={schema}")

    def meddle(self, sql: str, *values: object) -> int:
        """Run a statement, in the way of everybody else; answer how many rows it changed."""
        with psycopg.connect(self._beside) as connection:
            return connection.execute(sql.encode(), values).rowcount


class Uncharging(Meddling):
    """Does not count the workers that a task took with it."""

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """Reap, and forgive."""
        reaped = await super().reap(limit)
        self.meddle("UPDATE task SET lost = 0")
        return reaped


class Popping(Meddling):
    """Removes tasks when they are claimed, as a queue does that has no leases."""

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """Claim, and forget."""
        claimed = await super().claim(claimant, wanted, most)
        for lease in claimed.leases:
            self.meddle("DELETE FROM task WHERE id = %s", lease.id)
        return claimed


class Unfenced(Meddling):
    """Ends the task, whoever asks: neither epoch nor claim id nor state are looked at."""

    statement: ClassVar[str] = "UPDATE task SET state = 5 WHERE id = %s"

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        """End them all well."""
        changed = [self.meddle(self.statement, item.fence.id) for item in items]
        return [APPLIED[Status.DONE] if each else STALE for each in changed]


class FencedByState(Unfenced):
    """Ends the task if it runs, whoever runs it."""

    statement: ClassVar[str] = f"{Unfenced.statement} AND state = 4"


class ChargedRelease(Meddling):
    """Counts a run that was given back as an attempt."""

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        """Release, and charge."""
        answers = await super().release(items)
        for item in items:
            self.meddle("UPDATE task SET attempt = attempt + 1 WHERE id = %s", item.fence.id)
        return answers
