"""What a worker tells: typed events, handed to listeners by a task of their own."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias, TypeGuard

import anyio
import anyio.to_thread
import attrs

from layered.task import Status
from layered.worker.meaning import Meaning, meaning_of
from layered.worker.states import State

log = logging.getLogger("layered.worker")

MOST_WAITING = 10_000
"""Events that may wait for slow listeners; beyond it the oldest are dropped, and counted."""


@attrs.frozen
class StateChanged:
    """The worker is now in *state*."""

    worker: str
    state: State


@attrs.frozen
class TaskEnded:
    """
    A run has ended, and the store has it durably.

    Args:
        task_id: The task.
        name: Its name.
        attempt: The number of the run, 1 on the first.
        status: Where the task went: done, retry, ready (released), dead, cancelled.
        seconds: From the handler's start to its end; 0 if it never started.
        error: What it raised, `None` if nothing; `DeadlineExceeded` where the
            deadline's cancellation ended it.
    """

    task_id: str
    name: str
    attempt: int
    status: Status
    seconds: float
    error: BaseException | None = None


@attrs.frozen
class TaskStale:
    """The store refused a write of this run: another run owns the task, or the lease ended."""

    task_id: str
    name: str
    attempt: int


@attrs.frozen
class TaskReaped:
    """A task was taken from a lost worker."""

    task_id: str
    name: str
    status: Status


@attrs.frozen
class NamesUnknown:
    """Ready tasks of these names are in the queue, and this worker handles none of them."""

    queue: str
    names: Sequence[str]


@attrs.frozen
class BackendTroubled:
    """An operation of the store failed; the worker tries again after *delay* seconds, if ever."""

    operation: str
    error: Exception
    delay: float


@attrs.frozen
class LateError:
    """A handler raised after it had settled its task itself; nothing changes."""

    task_id: str
    error: BaseException


@attrs.frozen
class ResultDropped:
    """A task is done, but its result could not be stored; *reason* says why."""

    task_id: str
    name: str
    reason: str


Event: TypeAlias = (
    StateChanged
    | TaskEnded
    | TaskStale
    | TaskReaped
    | NamesUnknown
    | BackendTroubled
    | LateError
    | ResultDropped
)
"""All that a worker tells by itself; `WorkerContext.emit` may send any other object."""

Listener: TypeAlias = Callable[[object], Awaitable[None] | None]
"""Takes events; an async function runs in the loop, a plain one in a thread."""


class Bus:
    """
    Hands events to listeners, one after the other, in a task of its own.

    A listener that is slow or raises harms nobody: events wait, up to
    `MOST_WAITING`; an error is logged, and so is a cancellation that nobody
    asked for. What should end the program goes to `fatal`.

    Args:
        listeners: Called in this order with each event.
    """

    __slots__ = (
        "_closing",
        "_dropped",
        "_limiter",
        "_listeners",
        "_queue",
        "_wake",
        "active",
        "closed",
        "fatal",
    )

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self.active = bool(listeners)
        self._queue: deque[object] = deque(maxlen=MOST_WAITING)
        self._limiter = anyio.CapacityLimiter(1)
        self._wake = anyio.Event()
        self._closing = False
        self._dropped = 0
        self.closed = anyio.Event()
        self.fatal: Callable[[BaseException], None] = lambda _: None

    def emit(self, event: object) -> None:
        """Hand *event* to the listeners soon; never waits."""
        if self.active:
            self._dropped += len(self._queue) == MOST_WAITING
            self._queue.append(event)
            self._wake.set()

    def close(self) -> None:
        """Let `run` end once the waiting events are handed over."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Hand events over until closed."""
        while self._queue or not self._closing:
            if not self._queue:
                self._wake = anyio.Event()
                await self._wake.wait()
                continue
            batch, self._queue = self._queue, deque(maxlen=MOST_WAITING)
            if self._dropped:
                log.warning("listeners are too slow: %d events were dropped", self._dropped)
                self._dropped = 0
            for listener in self._listeners:
                await self._tell(listener, batch)
        self.closed.set()

    async def _tell(self, listener: Listener, batch: deque[object]) -> None:
        if _is_async(listener):
            for event in batch:
                try:
                    await listener(event)
                except BaseException as error:  # noqa: BLE001 - raised again if it is ours
                    self._survive(error, listener)
            return
        work = partial(_tell_all, listener, batch)
        try:
            await anyio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        except BaseException as error:  # noqa: BLE001 - raised again if it is ours
            self._survive(error, listener)

    def _survive(self, error: BaseException, listener: Listener) -> None:
        """Log what a listener raised, or hand it to `fatal`; raise our own cancellation again."""
        meaning = None if isinstance(error, Exception) else meaning_of(error)
        if meaning is Meaning.ENCLOSING:
            raise error
        if meaning is Meaning.STOP:
            self.fatal(error)
        else:
            log.error("listener %r failed", listener, exc_info=error)


def _is_async(listener: Listener) -> TypeGuard[Callable[[object], Awaitable[None]]]:
    """Tell whether *listener* is an async function, or an object whose call is one."""
    return inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(
        type(listener).__call__
    )


def _tell_all(listener: Listener, batch: deque[object]) -> None:
    for event in batch:
        try:
            listener(event)
        except Exception:
            log.exception("listener %r failed on %r", listener, event)
