"""The control operations of `SqliteStorage`, on the threads that it opens."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from layered.backend import Beat, Change, Filter, Page, Queue, Sighting, Storage
from layered.backends.sqlite import (
    cancel as cancelling,
    dedup,
    progress as progressing,
    queues as queueing,
    read,
    workers as working,
)
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.lane import Lane
from layered.errors import BackendClosed
from layered.task import Fence, Status

A = TypeVar("A")
T = TypeVar("T")


class SqliteControl(Storage[A]):
    """
    A storage that can be controlled: see `layered.backend.control`.

    What it does and knows of others is in the file, so it acts on all
    processes that have it open.
    """

    _clock: Clock
    _writer: Lane | None = None
    _reader: Lane | None = None

    async def _write(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        alone: bool = False,
        durable: bool = True,
    ) -> T:
        return await self._opened(self._writer).run(work, alone=alone, durable=durable)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._opened(self._reader).run(work)

    def _opened(self, lane: Lane | None) -> Lane:
        if lane is None:
            msg = f"using {self!r}: it is not open; open it: async with ..."
            raise BackendClosed(msg)
        return lane

    async def cancel(self, ids: Sequence[str], /) -> Sequence[Change]:
        """See `Cancels.cancel`."""
        changes = await self._write(
            lambda connection: cancelling.cancel(connection, self._clock, ids)
        )
        if any(change.changed and change.status is Status.CANCELLED for change in changes):
            self.ended.notify()
        return changes

    async def requeue(self, ids: Sequence[str], /) -> Sequence[Change]:
        """See `Requeues.requeue`."""
        changes = await self._write(
            lambda connection: cancelling.requeue(connection, self._clock, ids)
        )
        if any(change.changed for change in changes):
            self.pushed.notify()
        return changes

    async def page(self, wanted: Filter, after: str | None, limit: int, /) -> Page:
        """See `Lists.page`; holds up no write."""
        return await self._read(lambda connection: read.page(connection, wanted, after, limit))

    async def queues(self) -> Sequence[Queue]:
        """See `Pauses.queues`."""
        return await self._read(lambda connection: queueing.queues(connection, self._clock))

    async def pause(self, queue: str, until: datetime | None, /) -> None:
        """See `Pauses.pause`."""
        await self._write(lambda connection: queueing.pause(connection, queue, until))

    async def resume(self, queue: str, /) -> None:
        """See `Pauses.resume`; other processes find out at their next poll."""
        await self._write(lambda connection: queueing.resume(connection, queue))
        self.pushed.notify()

    async def beat(self, beat: Beat, /) -> None:
        """See `Sees.beat`; not safe from a loss of power."""
        await self._write(
            lambda connection: working.beat(connection, self._clock, beat), durable=False
        )

    async def leave(self, owner: str, /) -> None:
        """See `Sees.leave`; not safe from a loss of power."""
        await self._write(lambda connection: working.leave(connection, owner), durable=False)

    async def workers(self) -> Sequence[Sighting]:
        """See `Sees.workers`."""
        return await self._read(lambda connection: working.workers(connection, self._clock))

    async def progress(self, fence: Fence, value: bytes, /) -> bool:
        """See `Reports.progress`; not safe from a loss of power, which ends the run anyway."""
        return await self._write(
            lambda connection: progressing.progress(connection, fence, value), durable=False
        )

    async def checkpoint(self, fence: Fence, step: str, value: bytes, /) -> bytes | None:
        """See `Remembers.checkpoint`."""
        return await self._write(
            lambda connection: progressing.checkpoint(connection, fence, step, value)
        )

    async def checkpoints(self, task_id: str, /) -> Mapping[str, bytes]:
        """See `Remembers.checkpoints`."""
        return await self._read(lambda connection: progressing.checkpoints(connection, task_id))

    async def holder(self, queue: str, key: str, /) -> str | None:
        """See `Dedups.holder`."""
        found = await self._read(
            lambda connection: dedup.holder(connection, queue, key, self._clock.wall())
        )
        return None if found is None else found.id
