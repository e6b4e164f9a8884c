"""`SqliteStorage`: tasks in one SQLite file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar, Self, TypeVar, overload

from typing_extensions import Unpack

from layered.backend import (
    Answer,
    ArgsLike,
    Claimant,
    Claimed,
    Durability,
    Form,
    KindsLike,
    Limits,
    Pushed,
    Reaped,
    Record,
    Release,
    Renew,
    Renewal,
    Renews,
    Settle,
    StorageOptions,
)
from layered.backends.sqlite import (
    connection as connections,
    lease as leases,
    prune as pruning,
    read,
)
from layered.backends.sqlite.claim import claim
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.control import SqliteControl
from layered.backends.sqlite.effect import settle_with
from layered.backends.sqlite.keeper import Keeper
from layered.backends.sqlite.lane import open_all
from layered.backends.sqlite.push import insert
from layered.backends.sqlite.queues import register
from layered.backends.sqlite.settle import release, settle
from layered.backends.sqlite.writer import Reader, Writer
from layered.errors import WrongState
from layered.service.layer import LayerLike
from layered.task import Draft, Status

A = TypeVar("A")


class SqliteStorage(SqliteControl[A]):
    """
    Tasks in one SQLite file, for any number of processes of one machine.

    Use it as ``async with``: entering creates the file (for its owner
    only) or checks it; leaving finishes what was accepted. An accepted
    push or settle survives a loss of power. Tasks, coroutines, threads and
    event loops may share one storage; after a fork open another.

    Keep the file on a local disk: SQLite's locks do not hold on network
    file systems.

    Args:
        where: Path of the file; no symbolic link.
        args: The type of the arguments, a union of types, or kinds.
        queue: The queue to push to and to claim from.
        layers: The stack around `push`, outermost first.
        limits: Sizes and retention.
        now: Wall clock, seconds since 1970; default `time.time`. Leases
            are measured by the machine's monotonic clock.

    Raises:
        Fatal: on entering, if the file is no database of layered, or one
            of a newer version; it is left as it was.
        Transient: by every operation, while another process holds the
            file's lock for more than 5 s.
    """

    durability: ClassVar[Durability] = "power"
    threaded_keeper: ClassVar[bool] = True
    poll: float = 1.0

    @overload
    def __init__(
        self, where: str | os.PathLike[str], args: Form[A], **options: Unpack[StorageOptions]
    ) -> None: ...
    @overload
    def __init__(
        self, where: str | os.PathLike[str], args: KindsLike[A], **options: Unpack[StorageOptions]
    ) -> None: ...
    def __init__(
        self,
        where: str | os.PathLike[str],
        args: ArgsLike[A],
        *,
        queue: str = "default",
        layers: Sequence[LayerLike] = (),
        limits: Limits | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(args, queue, layers, limits or Limits())
        self.path = os.fspath(where)
        self._clock = Clock(now or time.time)
        self._pruned = 0
        self._open = False

    async def __aenter__(self) -> Self:
        """
        Open the file; create it or its tables if need be.

        Raises:
            Fatal: if it cannot be used; the message has the way out.
            Transient: if another process holds its lock for too long.
            WrongState: if it is open already; leaving it would close it for both.
        """
        if self._open:
            msg = f"opening {self!r}: it is open already; enter it once, or make another storage"
            raise WrongState(msg)
        self._open = True
        writer = Writer(self._connect, self.path)
        reader = Reader(partial(connections.connect_reader, self.path), self.path)
        try:
            await open_all(writer, reader)
            self._writer, self._reader = writer, reader
            await self._write(partial(register, queue=self.queue))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish what was accepted, and close the file; not cancellable."""
        writer, reader = self._writer, self._reader
        if reader is not None:
            await reader.aclose()
        if writer is not None:
            await writer.aclose()
        self._open = False

    def _connect(self) -> sqlite3.Connection:
        connections.prepare(self.path)
        return connections.connect(self.path)

    async def insert(self, drafts: Sequence[Draft], /) -> Sequence[Pushed]:
        """See `Backend.insert`; concurrent calls share a commit."""
        answers = await self._write(lambda connection: insert(connection, self._clock, drafts))
        self.pushed.notify()
        return answers

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """See `Backend.claim`; a loss of power may undo it, as if it had not run."""
        return await self._write(
            lambda connection: claim(connection, self._clock, claimant, wanted, most),
            durable=False,
        )

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        """See `Backend.renew`; not safe from a loss of power."""
        return await self._write(
            lambda connection: leases.renew(connection, self._clock, items, lease), durable=False
        )

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        """See `Backend.settle`; concurrent calls share a commit."""
        answers = await self._write(lambda connection: settle(connection, self._clock, items))
        self._tell(answers)
        return answers

    async def settle_in(
        self, effect: Callable[[sqlite3.Connection], None], item: Settle, /
    ) -> Answer:
        """
        Settle a run together with a change of the user's own in the same file.

        Both commit, or neither. *effect* runs once, in the writer's thread,
        after the fence was found to hold and before the commit; all other
        writes of this storage wait for it. If the fence is stale, or the
        same settle was applied before, it does not run.

        Args:
            effect: Works with the connection that it is given. It may not
                begin, commit, roll back or close: `WrongState`.
            item: The settle.

        Raises:
            Exception: what *effect* raises, the same object; nothing was
                stored, the run is not settled.
            TypeError: if *effect* is an async function or a generator.
            WrongState: if *effect* tried to end the transaction.

        Cancellation:
            Stored wholly or not at all; once the thread has begun, the
            cancellation waits for it.
        """
        answer = await self._write(
            lambda connection: settle_with(connection, self._clock, effect, item), alone=True
        )
        self._tell([answer])
        return answer

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        """See `Backend.release`."""
        answers = await self._write(lambda connection: release(connection, self._clock, items))
        self._tell(answers)
        return answers

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """See `Backend.reap`; a task comes back after up to 1 s for each worker it has lost."""
        reaped = await self._write(
            lambda connection: leases.reap(connection, self._clock, limit), durable=False
        )
        if reaped:
            self.pushed.notify()
            self.ended.notify()
        return reaped

    def _tell(self, answers: Sequence[Answer]) -> None:
        """Give the hints that follow from what was written."""
        statuses = {answer.status for answer in answers}
        if any(status is not None and status.is_terminal for status in statuses):
            self.ended.notify()
        if statuses & {Status.READY, Status.RETRY}:
            self.pushed.notify()

    async def fetch(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        """See `Backend.fetch`."""
        return await self._read(lambda connection: read.fetch(connection, ids))

    async def counts(self, queue: str, /) -> Mapping[str, Mapping[Status, int]]:
        """See `Backend.counts`; looks at every row, and holds up no write."""
        return await self._read(lambda connection: read.counts(connection, queue))

    async def names(self, queue: str, /) -> Sequence[str]:
        """See `Backend.names`; one look into the index for each name."""
        return await self._read(lambda connection: read.names(connection, queue))

    async def prune(self, limit: int, /) -> int:
        """See `Backend.prune`; in small steps, so that it holds up no other write for long."""
        clock = self._clock
        changed = await self._write(lambda connection: pruning.sweep(connection, clock, limit))
        while changed < limit:
            step = partial(
                pruning.step,
                clock=clock,
                limits=self.limits,
                cursor=self._pruned,
                limit=limit - changed,
            )
            done = await self._write(step)
            self._pruned = done.cursor
            changed += done.changed
            if done.last:
                self._pruned = 0
                break
        return changed

    async def check(self) -> None:
        """See `Backend.check`: whose file it is, its schema version and modes."""
        await self._read(lambda connection: connections.check(connection, self.path))

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[Renews]:
        """See `Backend.keeper`: a thread and a connection of its own, for any event loop."""
        lane = Writer(partial(connections.connect_keeper, self.path), self.path)
        await lane.open()
        try:
            yield Keeper(lane, self._clock)
        finally:
            await lane.aclose()

    def __repr__(self) -> str:
        """Show the file, the task names and the queue."""
        names = ", ".join(self.kinds.by_name)
        return f"SqliteStorage({self.path!r}, {names}, queue={self.queue!r})"
