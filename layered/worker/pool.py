"""The pool: consumers that take claimed tasks through the stack, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Any

import anyio
import attrs
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from layered.errors import DeadlineExceeded, DecodeFailed, NewerVersion, StrayCancellation
from layered.service import Service
from layered.service.clock import loop_clock, scope_class
from layered.task import CancelReason, Host, Kind, Lease, Run, Task
from layered.worker.events import Bus, LateError
from layered.worker.flight import Flight
from layered.worker.isolate import drive, first_step
from layered.worker.meaning import Meaning, meaning_of, stray
from layered.worker.outcome import write_of_error, write_of_value
from layered.worker.settle import Entry, Settler
from layered.worker.ticker import Ticker

PAUSE_TASKS = 500
"""A consumer lets others run at least every so many tasks ..."""
PAUSE_SECONDS = 0.005
"""... or so many seconds."""


@attrs.frozen
class Job:
    """
    What a pool does with each task; fixed at build.

    Args:
        service: The stack.
        kinds: Name to kind, to decode with.
        deadline: Seconds for a whole task; `None` for no limit.
        concurrency: Most tasks at once.
        result_limit: Most bytes of an encoded result.
    """

    service: Service[Task[Any], Any]
    kinds: Mapping[str, Kind[Any]]
    deadline: float | None
    concurrency: int
    result_limit: int


class Pool:
    """
    Consumers, started as they are needed, up to the job's concurrency.

    Each consumer runs its tasks inside one cancel scope, which is left and
    made anew only when it was cancelled: a scope per task would cost more
    than the rest of the dispatch. What a handler did ends in a list of the
    settler, so the consumer goes on at once.

    Args:
        job: What to do.
        host: The worker, as runs know it.
        flight: Takes what was claimed.
        settler: Takes how it ended.
        ticker: Watches limits.
        bus: Is told what settling cannot tell.
    """

    def __init__(
        self, job: Job, host: Host, flight: Flight, settler: Settler, ticker: Ticker, bus: Bus
    ) -> None:
        self._job = job
        self._host = host
        self._flight = flight
        self._settler = settler
        self._ticker = ticker
        self._bus = bus
        self._clock = loop_clock()
        self.waiting: deque[Run] = deque()
        """Claimed, and not begun; read-only for others."""
        self._parked: list[anyio.Event] = []
        self._crew: TaskGroup | None = None
        self._given_up: set[Run] = set()
        self._consumers = 0
        self._looking = 0
        self._closed = False
        self._freed: anyio.Event | None = None
        self.active = 0
        self.fatal: Callable[[BaseException], None] = lambda _: None

    @property
    def free(self) -> int:
        """How many more tasks could start now."""
        return self._job.concurrency - self.active

    def start(self, crew: TaskGroup) -> None:
        """Run consumers in *crew* from now on."""
        self._crew = crew

    def add(self, leases: Sequence[Lease], lease_ends: float) -> None:
        """Take claimed tasks; *lease_ends* by the keeper's clock."""
        runs = [Run(lease, self._host) for lease in leases]
        self._flight.add(runs)
        self._ticker.watch(runs, lease_ends)
        self.active += len(runs)
        self.waiting.extend(runs)
        if self._closed:
            self._release_waiting()
        self._call_up(1)

    def _call_up(self, most: int) -> None:
        """Get up to *most* more consumers going: wake parked ones, then start new ones."""
        for _ in range(min(most, len(self.waiting)) - self._looking):
            if self._parked:
                self._parked.pop().set()
            elif self._consumers < self._job.concurrency and self._crew is not None:
                self._consumers += 1
                self._crew.start_soon(self._consume)
            else:
                return

    async def _consume(self) -> None:
        new_scope, cancelled = scope_class(), anyio.get_cancelled_exc_class()
        try:
            staying = True
            while staying:
                with new_scope() as scope:
                    staying = await self._work(scope)
        except cancelled:
            pass  # between tasks: by us, or by what an earlier one left behind, such as a timer
        finally:
            self._consumers -= 1
            if not self._closed:
                self._call_up(1)

    async def _work(self, scope: anyio.CancelScope) -> bool:  # noqa: C901 - the hot loop, in one frame
        """Take tasks until *scope* is cancelled; answer whether this consumer is still good."""
        todo, clock = self.waiting, self._clock
        call, limit = self._job.service.call, self._job.deadline
        count, pause = 0, clock() + PAUSE_SECONDS
        while True:
            if not todo:
                if self._closed:
                    return False
                await self._more()
                count, pause = 0, clock() + PAUSE_SECONDS
                continue
            run = todo.popleft()
            run.scope = scope
            run.started = now = clock()
            if limit is not None:
                run.deadline = now + limit
            try:
                task = self._open(run)
                context = copy_context()
                coroutine, value = context.run(first_step, call, task)
                if coroutine is not None:
                    if todo:
                        self._call_up(len(todo))
                    value = await drive(context, coroutine, value)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - judged, and left to the scope
                run.scope = None
                if not self._failed(run, error):
                    return False
            else:
                run.scope = None
                self._succeeded(run, value)
            if run.reason is not None and scope.cancel_called:
                return True
            count += 1
            if count >= PAUSE_TASKS or now > pause:
                await checkpoint()
                count, pause = 0, clock() + PAUSE_SECONDS

    async def _more(self) -> None:
        """Wait for tasks; first let others run once: what they bring costs no waking up."""
        self._looking += 1
        try:
            await checkpoint()
        finally:
            self._looking -= 1
        if self.waiting or self._closed:
            return
        event = anyio.Event()
        self._parked.append(event)
        try:
            await event.wait()
        except BaseException:
            if event in self._parked:
                self._parked.remove(event)
            raise

    def _open(self, run: Run) -> Task[Any]:
        """Decode a task; whatever is wrong with it is an error of that task."""
        record = run.record
        if run.reason is not None:
            raise StrayCancellation  # its lease was lost before it started: nothing is written
        kind = self._job.kinds[record.name]
        if record.version > kind.version:
            raise NewerVersion(record.name, record.version, kind.version)
        if record.codec != kind.codec.name:
            msg = f"decoding task {record.name!r}: needs codec {record.codec!r}, got {kind.codec!r}"
            raise DecodeFailed(msg)
        return Task(kind.decode(record.payload), run)

    def _succeeded(self, run: Run, value: object) -> None:
        write, dropped = write_of_value(run, value, self._job.result_limit)
        seconds = self._clock() - run.started if self._bus.active else 0.0
        self._end(Entry(run, write, seconds, None, dropped))

    def _end(self, entry: Entry) -> None:
        if entry.run not in self._given_up:
            self._settler.put(entry)
        self.active -= 1
        if self._freed is not None:
            self._freed.set()
            self._freed = None

    def _failed(self, run: Run, error: BaseException) -> bool:
        """
        End a run that raised *error*; answer whether its consumer may go on.

        A consumer whose own state is in doubt ends, and another takes its place.
        """
        told, good = error, True
        if not isinstance(error, Exception):
            meaning = meaning_of(error, run)
            if meaning is Meaning.STRAY:
                told, good = stray(error), False
            else:
                run.reason = run.reason or CancelReason.DRAIN
                if run.reason is CancelReason.DEADLINE:
                    told = DeadlineExceeded(self._job.deadline or 0.0)
            if meaning is Meaning.STOP:
                self.fatal(error)
                good = False
        write = write_of_error(run, told, self._job.deadline)
        if write is None and run.reason is not CancelReason.LEASE_LOST:
            self._bus.emit(LateError(run.record.id, told))
        self._end(Entry(run, write, max(0.0, self._clock() - run.started), told))
        return good

    async def freed(self) -> None:
        """Wait until a task could start."""
        while self.free <= 0:
            await self._one_less()

    async def idle(self) -> None:
        """Wait until no task is waiting or running."""
        while self.active:
            await self._one_less()

    async def _one_less(self) -> None:
        if self._freed is None:
            self._freed = anyio.Event()
        await self._freed.wait()

    def close(self) -> None:
        """Let the consumers end; what waits, or comes from now on, is given back uncharged."""
        self._closed = True
        self._release_waiting()
        parked, self._parked = self._parked, []
        for event in parked:
            event.set()

    def _release_waiting(self) -> None:
        while self.waiting:
            run = self.waiting.popleft()
            run.cancel(CancelReason.DRAIN)
            self._failed(run, StrayCancellation())

    def give_up(self) -> list[Run]:
        """Give running tasks back although their handlers go on; answer them."""
        stuck = [run for run in self._flight.snapshot() if run.scope is not None]
        self._given_up.update(stuck)
        for run in stuck:
            run.scope = None
            write = write_of_error(run, StrayCancellation(), self._job.deadline)
            self._settler.put(Entry(run, write, 0.0, None))
        return stuck

    def cancel(self, reason: CancelReason) -> None:
        """Cancel all running handlers."""
        for run in self._flight.snapshot():
            if run.scope is not None:
                run.cancel(reason)
