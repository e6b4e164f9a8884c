"""`WorkerContext`: what a handler, or the program around it, may ask of a worker."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import anyio
import anyio.from_thread

from layered.backend import decoder
from layered.errors import WrongState
from layered.task import CancelReason, Run, Task
from layered.worker import own
from layered.worker.shift import Shift
from layered.worker.states import State

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class WorkerContext:
    """
    A worker as its handlers see it: `ctx: WorkerContext` as a parameter.

    Inside a handler it also knows that handler's run: `cancelled`,
    `cancel_reason`, `progress`, `once`, `checkpoint`, `settle_in`.
    `Worker.context` is the same without a run.

    Plain functions, handlers or listeners, may call everything from their
    thread, what is async by ``anyio.from_thread.run(ctx.progress, 0.5)``;
    other threads may only read.
    """

    __slots__ = ("_run", "_shift")

    def __init__(self, shift: Shift, run: Run | None = None) -> None:
        self._shift = shift
        self._run = run

    @classmethod
    def from_task(cls, task: Task[Any]) -> WorkerContext:
        """Make the context of a claimed task; the extractor."""
        host = task.run.host
        if not isinstance(host, Shift):
            msg = f"{task!r} was claimed by no worker: it has no WorkerContext"
            raise WrongState(msg)
        return cls(host, task.run)

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._shift.name

    @property
    def owner(self) -> str:
        """The worker's unique id: name/host/pid/uuid."""
        return self._shift.owner

    @property
    def state(self) -> State:
        """Where the worker stands."""
        return self._shift.machine.state

    @property
    def in_flight(self) -> int:
        """How many tasks are claimed and not yet durably settled."""
        return len(self._shift.flight)

    def pause(self) -> None:
        """
        Claim nothing more until `resume`; what runs goes on.

        Raises:
            WrongState: if the worker does not run.
        """
        self._in_loop(partial(self._shift.machine.move, "pause"))

    def resume(self) -> None:
        """
        Claim again.

        Raises:
            WrongState: if the worker is not paused.
        """
        self._in_loop(partial(self._shift.machine.move, "resume"))

    def stop(self) -> None:
        """Begin a drain; a worker that drains already goes on doing so."""
        self._in_loop(self._shift.stop)

    def cancel(self, task_id: str) -> bool:
        """
        Cancel a task that this worker has in flight; it is settled as cancelled.

        Returns:
            Whether it was found, and not already ending.
        """
        found = [run for run in self._shift.flight.snapshot() if run.record.id == task_id]
        return self._in_loop(lambda: sum(run.cancel(CancelReason.USER) for run in found) > 0)

    def spawn(
        self, function: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, name: str | None = None
    ) -> None:
        """
        Run an async function beside the handlers; a drain waits for it.

        It has no lease and outlives the task that started it: what must
        not be lost belongs in a task of its own. An error is logged and
        stops nothing.

        Raises:
            WrongState: if the worker does not run yet, or no more.

        Cancellation:
            Cancelled when a drain's grace is over.
        """
        self._in_loop(partial(self._shift.children.spawn, function, args, name))

    def emit(self, event: object) -> None:
        """Tell the worker's listeners of *event*."""
        self._in_loop(partial(self._shift.bus.emit, event))

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why this handler was cancelled by the worker; `None` if it was not."""
        return self._mine("cancel_reason").reason

    @property
    def cancelled(self) -> bool:
        """
        Whether this handler should stop: the worker cancelled it, or a timeout did.

        For plain functions, which cannot be interrupted: look at it now and
        then. Safe to read from any thread.
        """
        return self._mine("cancelled").reason is not None or _scope_cancelled()

    async def settle_in(self, tx: object, value: object = None) -> None:
        """
        Settle this task as done inside the handler's own transaction.

        The effects of the transaction and the end of the task are then one
        write: exactly once. What *tx* is depends on the backend: for
        SQLite, a plain function that takes the `sqlite3.Connection` and is
        run on the writer's thread; for PostgreSQL, an async function that
        takes a psycopg `AsyncConnection`, or an open transaction of yours,
        which this commits.

        From here on nothing re-runs or cancels the task. An error that the
        handler raises later is told as `LateError` and changes nothing;
        its return value is ignored.

        Args:
            tx: The transaction, in the backend's own form.
            value: The task's result.

        Raises:
            LeaseLost: if another run owns the task; nothing was written.
            WrongState: if the backend has no transactions to share, or the
                task was settled before.
            BackendError: as the backend says. `BackendBroken` leaves it
                unknown whether the transaction was committed; the store
                knows, and the task runs again only if it was not.

        Cancellation:
            Before it begins. Once begun it is shielded and goes through.
        """
        await own.settle_in(self._shift.backend, self._mine("settle_in"), tx, value)

    async def progress(self, value: object, /) -> None:
        """
        Store how far this run has come, for whoever looks (`Inspector.progress`).

        The last one counts, and stays when the run ends. Each call is a
        write to the store.

        Args:
            value: Anything that is JSON; `MAX_PROGRESS` bytes (4 KiB) at most.

        Raises:
            ValueError: if it cannot be encoded, or is larger.
            LeaseLost: if another run owns the task; nothing was written.
            WrongState: if the task was settled already.
            Incapable: if the backend keeps no progress.
        """
        await own.progress(self._shift.backend, self._mine("progress"), value)

    async def checkpoint(self, step: str, form: TypeForm[T], value: T, /) -> T:
        """
        Store the value of a step for this run and later ones; the first one stays.

        Args:
            step: A name of your choice, one for each step of a task.
            form: The value's type, to decode it as.
            value: Anything that is JSON, as large as a result may be.

        Returns:
            The value that is stored now: of the first call for this step, in whichever run.

        Raises:
            ValueError: if *step* is no name, or *value* cannot be encoded or is too large.
            DecodeFailed: if what is stored does not fit *form*.
            As `progress`.

        Cancellation:
            Shielded: what a run has found out is stored in spite of it.
        """
        run = self._mine("checkpoint")
        return await own.checkpoint(self._shift.backend, run, step, decoder(form), value)

    async def once(self, step: str, function: Callable[[*Ts], Awaitable[T]], /, *args: *Ts) -> T:
        """
        Do a step of this task, unless an earlier run has done it; answer its value.

        The value is stored as soon as *function* returns, and later runs
        get it from the store. So a step runs at least once until its value
        is stored: a crash in between runs it again, and so does an error.

        Args:
            step: A name of your choice, one for each step of a task.
            function: Async, annotated with what it returns, which must be JSON.
            args: What to call it with.

        Raises:
            TypeError: if *function* has no return annotation that can be decoded as;
                it was not called.
            Exception: what *function* raises; nothing is stored then.
            As `checkpoint`.

        Cancellation:
            In *function* like anywhere; its value, once there, is stored in spite of it.
        """
        run = self._mine("once")
        return await own.once(self._shift.backend, run, step, function, args)

    def _in_loop(self, work: Callable[[], T]) -> T:
        """Do *work* in the worker's thread: an event set from another one wakes nobody."""
        if threading.get_ident() == self._shift.thread:
            return work()
        return anyio.from_thread.run_sync(work)

    def _mine(self, what: str) -> Run:
        if self._run is None:
            msg = f"'{what}' belongs to a task: take 'ctx: WorkerContext' as a handler's parameter"
            raise WrongState(msg)
        return self._run

    def __repr__(self) -> str:
        """Show the worker and the run."""
        return f"<WorkerContext of {self.owner} {self.state.value} {self._run or ''}>"


def _scope_cancelled() -> bool:
    """Whether a cancel scope around this handler is cancelled; from its thread or from the loop."""
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:  # not in a thread of anyio
        return anyio.current_effective_deadline() == float("-inf")
    except BaseException:  # noqa: BLE001 - the loop's own cancelled class, which stays here
        return True
    return False
