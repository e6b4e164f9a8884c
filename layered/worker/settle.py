"""The settle batcher: writes how runs ended, and speaks of it only when it is durable."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import attrs

from layered.backend import Answer, Backend, Dead, Release, Retry, Settle, Verdict
from layered.errors import BackendClosed, BackendError, Fatal
from layered.task import Run, Settling, Status
from layered.worker.events import BackendTroubled, Bus, ResultDropped, TaskEnded, TaskStale
from layered.worker.flight import Flight
from layered.worker.outcome import Write

log = logging.getLogger("layered.worker")

MOST_LOGGED = 500
"""Characters of an error's message that are logged."""

MOST_REFUSALS = 8
"""Errors that are no `BackendError`, after which an end counts as impossible to write."""


@attrs.define(eq=False)
class Entry:
    """One run that has ended: what to write, what it raised, why its result is not stored."""

    run: Run
    write: Write
    seconds: float
    error: BaseException | None
    dropped: str | None = None
    refusals: int = 0


def _log_dead(entry: Entry) -> None:
    """Say that a task has failed for good: the one end that somebody should look at."""
    write, record = entry.write, entry.run.record
    if isinstance(write, Settle) and isinstance(write.ending, (Dead, Retry)):
        kind, message, _ = write.ending.failure
        text = "task %s %s is dead after run %d: %s: %r"
        log.error(text, record.name, record.id, entry.run.attempt, kind, message[:MOST_LOGGED])


def _status_after(entry: Entry, answer: Answer) -> Status | None:
    """Tell what a write led to; when it is repeated, the task may have moved on since."""
    write, most = entry.write, entry.run.record.max_attempts
    if answer.verdict is not Verdict.ALREADY or write is None:
        return answer.status
    if answer.status is Status.CANCELLED:  # by this write, or since: nobody can tell
        return Status.CANCELLED
    if isinstance(write, Release):
        return Status.RETRY if write.delay > 0 else Status.READY
    if isinstance(write.ending, Retry):
        return Status.DEAD if most is not None and write.attempt >= most else Status.RETRY
    return answer.status  # the end of the task: it stays there


class Settler:
    """
    Writes the ends of runs in batches.

    There is no timer: a batch is what arrived during the previous write. A
    write that fails is tried again until the run's lease ends; then the
    run counts as stale, and the task runs again elsewhere. One that the
    backend chokes on, rather than being away, is given up sooner: it would
    be renewed, and hold up the others, for ever.

    Args:
        backend: The store.
        flight: Runs leave it when they are durably settled, or stale.
        bus: Is told of both.
        clock: The clock of `Run.lease_ends`.
        landed: Called after each batch.
    """

    __slots__ = (
        "_backend",
        "_bus",
        "_clock",
        "_closing",
        "_entries",
        "_flight",
        "_landed",
        "_wake",
    )

    def __init__(
        self,
        backend: Backend,
        flight: Flight,
        bus: Bus,
        clock: Callable[[], float],
        landed: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._flight = flight
        self._bus = bus
        self._clock = clock
        self._landed = landed
        self._entries: list[Entry] = []
        self._wake: anyio.Event | None = None
        self._closing = False

    def put(self, entry: Entry) -> None:
        """Take the end of a run; never waits."""
        self._entries.append(entry)
        if self._wake is not None:
            self._wake.set()
            self._wake = None

    def close(self) -> None:
        """Let `run` end once everything is written."""
        self._closing = True
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Write until closed."""
        while self._entries or not self._closing:
            if not self._entries:
                self._wake = anyio.Event()
                await self._wake.wait()
                continue
            batch, self._entries = self._entries, []
            await self._flush(batch)
            self._landed()

    async def _flush(self, batch: list[Entry]) -> None:
        settles: list[Entry] = []
        releases: list[Entry] = []
        rest: list[Entry] = []
        for entry in batch:
            kind = type(entry.write)
            (settles if kind is Settle else releases if kind is Release else rest).append(entry)
        if settles:
            await self._write("settle", self._backend.settle, settles)
        if releases:
            await self._write("release", self._backend.release, releases)
        for entry in rest:
            if entry.run.settling is Settling.DONE:
                self._tell(entry, Status.DONE)
            else:
                self._lost(entry)
        self._flight.land([entry.run for entry in rest])

    async def _write(
        self,
        operation: str,
        write: Callable[[Any], Awaitable[Sequence[Answer]]],
        entries: list[Entry],
    ) -> None:
        delay = 0.05
        while entries:
            try:
                answers = await write([entry.write for entry in entries])
            except (BackendClosed, Fatal) as error:
                log.warning("%s of %d tasks failed for good: %s", operation, len(entries), error)
                break
            except Exception as error:
                self._bus.emit(BackendTroubled(operation, error, delay))
                if not isinstance(error, BackendError):
                    log.exception("%s of %d tasks failed", operation, len(entries))
                    entries = await self._one_by_one(write, entries)
                    if not entries:
                        return
                await anyio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
                delay = min(delay * 2, 1.0)
                entries = self._still_leased(entries)
            else:
                self._answered(entries, answers)
                return
        for entry in entries:
            self._lost(entry)
        self._flight.land([entry.run for entry in entries])

    async def _one_by_one(
        self,
        write: Callable[[Any], Awaitable[Sequence[Answer]]],
        entries: list[Entry],
    ) -> list[Entry]:
        """Write each entry alone, and answer those that failed: one must not hold up the others."""
        failed: list[Entry] = []
        for entry in entries:
            try:
                answers = await write([entry.write])
            except Exception as error:  # noqa: BLE001 - told by the caller, and tried again
                entry.refusals += not isinstance(error, BackendError)
                failed.append(entry)
            else:
                self._answered([entry], answers)
        return failed

    def _still_leased(self, entries: list[Entry]) -> list[Entry]:
        now = self._clock()
        kept: list[Entry] = []
        over: list[Entry] = []
        for entry in entries:
            good = entry.run.lease_ends > now and entry.refusals < MOST_REFUSALS
            (kept if good else over).append(entry)
        for entry in over:
            self._lost(entry)
        self._flight.land([entry.run for entry in over])
        return kept

    def _answered(self, entries: list[Entry], answers: Sequence[Answer]) -> None:
        tell = self._bus.active
        for entry, answer in zip(entries, answers, strict=True):
            if answer.verdict is Verdict.STALE:
                self._lost(entry)
                continue
            status = _status_after(entry, answer)
            if status is Status.DEAD:
                _log_dead(entry)
            if tell and status is not None:
                self._tell(entry, status)
        self._flight.land([entry.run for entry in entries])

    def _tell(self, entry: Entry, status: Status) -> None:
        record = entry.run.record
        if entry.dropped is not None:
            self._bus.emit(ResultDropped(record.id, record.name, entry.dropped))
        self._bus.emit(
            TaskEnded(record.id, record.name, entry.run.attempt, status, entry.seconds, entry.error)
        )

    def _lost(self, entry: Entry) -> None:
        record = entry.run.record
        log.warning("task %s %s: lease lost, its end was not written", record.name, record.id)
        self._bus.emit(TaskStale(record.id, record.name, entry.run.attempt))
