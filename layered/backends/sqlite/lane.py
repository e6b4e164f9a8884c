"""
Threads that own a connection: callers hand them work and wait in their own event loop.

A piece of work is *taken* exactly once: by the thread, which then finishes
it whatever happens to the caller, or by a caller that was cancelled first,
and then it has no effect.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias, TypeVar

import anyio

from layered.backends.sqlite.faults import FAILURES, translate
from layered.backends.sqlite.job import Job
from layered.errors import BackendBroken, BackendClosed, BackendError
from layered.service.clock import loop_poster

T = TypeVar("T")

Connect: TypeAlias = Callable[[], sqlite3.Connection]

_MOST = 1000
"""Most pieces of work that are served at once."""


class Lane(ABC):
    """
    A thread with a connection, and a queue of work.

    Args:
        connect: Opens the connection; called in the thread, again after
            the connection broke.
        path: The database, for messages.
    """

    def __init__(self, connect: Connect, path: str) -> None:
        self.path = path
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._pid = os.getpid()
        self._closing = False
        self._over = False
        self._fault: BaseException | None = None
        self._closed: list[tuple[Callable[[Callable[[], object]], None], anyio.Event]] = []
        self._thread = threading.Thread(target=self._main, name=f"layered {path}", daemon=True)

    async def open(self) -> None:
        """
        Start the thread and open the connection.

        Raises:
            BackendError: if it cannot be opened.
        """
        self._thread.start()
        try:
            await self.run(_nothing)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Finish what was handed over, close the connection and end the thread; not cancellable."""
        self._closing = True
        ended = anyio.Event()
        self._closed.append((loop_poster(), ended))
        self._queue.put(None)
        if self._pid == os.getpid() and not self._over:
            with anyio.CancelScope(shield=True):
                await ended.wait()

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        alone: bool = False,
        durable: bool = True,
    ) -> T:
        """
        Have *work* done in the thread.

        Raises:
            BackendError: if the database fails, or the lane is closed.
            BaseException: what *work* raises.

        Cancellation:
            Before the thread takes the work: it is not done. After that it
            is finished before the cancellation goes on.
        """
        if self._closing or self._pid != os.getpid():
            raise self._refusal()
        job = Job(work, alone=alone, durable=durable)
        self._queue.put(job)
        # The thread may have ended in between, and not have seen this job.
        if self._over and job.take():
            raise self._refusal()
        try:
            await job.done.wait()
        except anyio.get_cancelled_exc_class():
            if not job.take():
                self.hurry(job)
                with anyio.CancelScope(shield=True):
                    await job.done.wait()
            raise
        return job.outcome()

    def hurry(self, job: Job[Any]) -> None:
        """React to a caller that was cancelled while its work is being done."""
        job.hurried = True

    @abstractmethod
    def serve(self, connection: sqlite3.Connection, jobs: Sequence[Job[Any]]) -> None:
        """Do the work of *jobs*, noting result or error of each."""

    def _main(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:  # noqa: BLE001 - reported to all callers
            self._fault = error
        finally:
            self._end()

    def _turn(self) -> bool:
        """Serve all that has been handed over; answer `False` when the lane is to end."""
        found, last = [self._queue.get()], False
        try:
            while len(found) < _MOST:
                found.append(self._queue.get_nowait())
        except Empty:
            pass
        if None in found:
            last = True
            at = found.index(None)
            for late in found[at + 1 :]:  # refused at the end
                self._queue.put(late)
            found = found[:at]
        jobs = [job for job in found if job is not None and job.take()]
        if jobs:
            self._serve(jobs)
        return not last

    def _serve(self, jobs: Sequence[Job[Any]]) -> None:
        try:
            if (connection := self._connected(jobs)) is not None:
                self.serve(connection, jobs)
        except BaseException as error:  # a fault of ours: nobody knows what was stored
            for job in jobs:
                job.error = self._refusal(error)
            raise
        finally:
            if _is_closed(self._connection) or any(
                isinstance(job.error, BackendBroken) for job in jobs
            ):
                self.disconnect()
            _answer(jobs)

    def _connected(self, jobs: Sequence[Job[Any]]) -> sqlite3.Connection | None:
        """Answer the connection, opened if need be; tell *jobs* if that fails."""
        if self._connection is None:
            try:
                self._connection = self._connect()
            except BackendError as error:
                for job in jobs:
                    job.error = error
            except FAILURES as error:
                for job in jobs:
                    job.error = translate(error, self.path)
        return self._connection

    def disconnect(self) -> None:
        """Close the connection; the next work opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*FAILURES):
                connection.close()

    def _end(self) -> None:
        self.disconnect()
        self._closing = self._over = True
        left = []
        try:
            while True:
                left.append(self._queue.get_nowait())
        except Empty:
            pass
        jobs = [job for job in left if job is not None and job.take()]
        for job in jobs:
            job.error = self._refusal()
        _answer(jobs)
        for post, ended in self._closed:
            post(ended.set)

    def _refusal(self, cause: BaseException | None = None) -> BackendClosed | BackendBroken:
        cause = cause or self._fault
        if cause is not None:
            broken = BackendBroken(f"using {self.path!r}: its thread has died: {cause!r}")
            broken.__cause__ = cause
            return broken
        if self._pid != os.getpid():
            return BackendClosed(
                f"using {self.path!r}: it was opened before this process was forked; "
                "open a storage of its own in each process"
            )
        return BackendClosed(f"using {self.path!r}: the storage is closed; open it: async with ...")


async def open_all(*lanes: Lane) -> None:
    """Open *lanes*, or none of them: if one fails, those before it are closed again."""
    for number, lane in enumerate(lanes):
        try:
            await lane.open()
        except BaseException:
            for opened in lanes[:number]:
                await opened.aclose()
            raise


def _is_closed(connection: sqlite3.Connection | None) -> bool:
    """Tell whether somebody closed a connection that was lent to them."""
    try:
        return connection is not None and connection.in_transaction is None
    except sqlite3.ProgrammingError:
        return True


def _nothing(connection: sqlite3.Connection) -> None:
    """Be the first work of a lane: it makes the thread connect."""


def _answer(jobs: Sequence[Job[Any]]) -> None:
    """Wake the callers, each loop once."""
    loops: dict[object, list[Job[Any]]] = {}
    for job in jobs:
        loops.setdefault(job.loop, []).append(job)
    for together in loops.values():
        together[0].post(partial(_set_all, [job.done for job in together]))


def _set_all(events: Sequence[anyio.Event]) -> None:
    for event in events:
        event.set()
