"""Storages of SQLite with one fault each; `tests.faults` shows that it finds them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from layered import SqliteStorage, Status
from layered.backend import APPLIED, STALE, Answer, Done, Release, Settle, Verdict
from layered.backends.sqlite.settle import release

A = TypeVar("A")


class Unfenced(SqliteStorage[A]):
    """Ends the task, whoever asks: neither epoch nor claim id nor state are looked at."""

    statement: ClassVar[str] = "UPDATE task SET state = 5 WHERE id = ?"

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        def settle_one(connection: sqlite3.Connection, item: Settle) -> Answer:
            assert isinstance(item.ending, Done)
            changed = connection.execute(self.statement, (item.fence.id,)).rowcount
            return APPLIED[Status.DONE] if changed else STALE

        return await self._write(
            lambda connection: [settle_one(connection, item) for item in items]
        )


class FencedByState(Unfenced[A]):
    """Ends the task if it runs, whoever runs it."""

    statement: ClassVar[str] = f"{Unfenced.statement} AND state = 4"


class KeptInTheLoop(SqliteStorage[A]):
    """Has its leases renewed in the event loop of the handlers."""

    threaded_keeper: ClassVar[bool] = False


class ChargedRelease(SqliteStorage[A]):
    """Counts a run that was given back as an attempt."""

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        def work(connection: sqlite3.Connection) -> Sequence[Answer]:
            answers = release(connection, self._clock, items)
            connection.executemany(
                "UPDATE task SET attempt = attempt + 1 WHERE id = ?",
                [(item.fence.id,) for item in items],
            )
            return answers

        return await self._write(work)


class Stranding(SqliteStorage[A]):
    """Says that it took tasks back, and did not."""

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        return [Answer(Verdict.APPLIED, Status.READY) for _ in items]


class SettledApart(SqliteStorage[A]):
    """Commits the settle first, and the effect of `settle_in` after it."""

    async def settle_in(
        self, effect: Callable[[sqlite3.Connection], None], item: Settle, /
    ) -> Answer:
        (answer,) = await self.settle([item])
        if answer.verdict is Verdict.APPLIED:
            await self._write(effect, alone=True)
        return answer
