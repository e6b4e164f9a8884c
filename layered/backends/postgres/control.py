"""What `PostgresStorage` lets one see and steer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from layered.backend import Answer, Beat, Change, Filter, Page, Queue, Record, Sighting, Storage
from layered.backends.postgres import board, cancel as cancelling, read, run
from layered.backends.postgres.pool import Pool
from layered.task import Fence, Status

A = TypeVar("A")


class PostgresControl(Storage[A]):
    """
    A storage that can be looked at and controlled: see `layered.backend.control`.

    What it does is in the database, so it acts on the workers of all
    machines.
    """

    schema: str
    _pool: Pool

    @abstractmethod
    def _hint(self) -> None:
        """Tell workers that there may be something to claim."""

    def _tell(self, answers: Sequence[Answer]) -> None:
        """Give the hints that follow from what was written."""
        statuses = {answer.status for answer in answers}
        if any(status is not None and status.is_terminal for status in statuses):
            self.ended.notify()
        if statuses & {Status.READY, Status.RETRY}:
            self._hint()

    async def fetch(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        """See `Backend.fetch`."""
        return await self._pool.run("read", partial(read.fetch, schema=self.schema, ids=ids))

    async def counts(self, queue: str, /) -> Mapping[str, Mapping[Status, int]]:
        """See `Backend.counts`; looks at every row, tombstones included."""
        return await self._pool.run("read", partial(read.counts, schema=self.schema, queue=queue))

    async def names(self, queue: str, /) -> Sequence[str]:
        """See `Backend.names`; one look into the index for each name."""
        return await self._pool.run("read", partial(read.names, schema=self.schema, queue=queue))

    async def cancel(self, ids: Sequence[str], /) -> Sequence[Change]:
        """See `Cancels.cancel`."""
        work = partial(cancelling.cancel, schema=self.schema, ids=ids)
        changes = await self._pool.run("push", work)
        if any(change.changed and change.status is Status.CANCELLED for change in changes):
            self.ended.notify()
        return changes

    async def requeue(self, ids: Sequence[str], /) -> Sequence[Change]:
        """See `Requeues.requeue`."""
        work = partial(cancelling.requeue, schema=self.schema, ids=ids)
        changes = await self._pool.run("push", work)
        if any(change.changed for change in changes):
            self._hint()
        return changes

    async def page(self, wanted: Filter, after: str | None, limit: int, /) -> Page:
        """See `Lists.page`."""
        work = partial(board.page, schema=self.schema, wanted=wanted, after=after, limit=limit)
        return await self._pool.run("read", work)

    async def queues(self) -> Sequence[Queue]:
        """See `Pauses.queues`."""
        return await self._pool.run("read", partial(board.queues, schema=self.schema))

    async def pause(self, queue: str, until: datetime | None, /) -> None:
        """See `Pauses.pause`."""
        work = partial(board.pause, schema=self.schema, queue=queue, until=until)
        await self._pool.run("push", work)

    async def resume(self, queue: str, /) -> None:
        """See `Pauses.resume`."""
        await self._pool.run("push", partial(board.resume, schema=self.schema, queue=queue))
        self._hint()

    async def beat(self, beat: Beat, /) -> None:
        """See `Sees.beat`."""
        await self._pool.run("read", partial(board.beat, schema=self.schema, beat=beat))

    async def leave(self, owner: str, /) -> None:
        """See `Sees.leave`."""
        await self._pool.run("read", partial(board.leave, schema=self.schema, owner=owner))

    async def workers(self) -> Sequence[Sighting]:
        """See `Sees.workers`."""
        return await self._pool.run("read", partial(board.workers, schema=self.schema))

    async def progress(self, fence: Fence, value: bytes, /) -> bool:
        """See `Reports.progress`."""
        work = partial(run.progress, schema=self.schema, fence=fence, value=value)
        return await self._pool.run("push", work)

    async def checkpoint(self, fence: Fence, step: str, value: bytes, /) -> bytes | None:
        """See `Remembers.checkpoint`."""
        work = partial(run.checkpoint, schema=self.schema, fence=fence, step=step, value=value)
        return await self._pool.run("push", work)

    async def checkpoints(self, task_id: str, /) -> Mapping[str, bytes]:
        """See `Remembers.checkpoints`."""
        work = partial(run.checkpoints, schema=self.schema, task_id=task_id)
        return await self._pool.run("read", work)

    async def holder(self, queue: str, key: str, /) -> str | None:
        """See `Dedups.holder`."""
        return await self._pool.run(
            "read", partial(board.holder, schema=self.schema, queue=queue, key=key)
        )
