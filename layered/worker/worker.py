"""`Worker`: a built stack on a backend, ready to run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Generic, Literal, TypeVar

import anyio
import attrs
from anyio.lowlevel import checkpoint

from layered.errors import WrongState
from layered.service.clock import loop_runs
from layered.task import Task
from layered.worker.context import WorkerContext
from layered.worker.events import Listener
from layered.worker.explain import explain
from layered.worker.fetcher import Until
from layered.worker.plan import Plan
from layered.worker.shift import Shift
from layered.worker.states import State

A = TypeVar("A")
R = TypeVar("R")


class Worker(Generic[A, R]):
    """
    Claims tasks from a backend and takes each through its stack.

    Made by `WorkerBuilder.build`. It may run again after it has stopped;
    what its layers remember stays.

    Args:
        plan: What was decided at build.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._shift: Shift | None = None

    @property
    def name(self) -> str:
        """The worker's name; workers may share one."""
        return self._plan.name

    @property
    def state(self) -> State:
        """Where the worker stands; pending before its first run."""
        return State.PENDING if self._shift is None else self._shift.machine.state

    @property
    def context(self) -> WorkerContext:
        """
        Pause, resume, stop and ask the running worker.

        Raises:
            WrongState: if it does not run.
        """
        if self._shift is None or self._shift.machine.state is State.STOPPED:
            msg = f"worker {self.name!r} does not run: start it with run() first"
            raise WrongState(msg)
        return WorkerContext(self._shift)

    async def run(
        self, *, burst: bool = False, until_empty: bool = False, signals: bool = False
    ) -> None:
        """
        Work until told to stop.

        Args:
            burst: End when a claim made with nothing in flight answers
                nothing; tasks of the future stay.
            until_empty: End when no live task of this worker's names is
                left in the queue: those of the future, and those that run
                elsewhere, are waited for. Not together with *burst*.
            signals: Drain at the first SIGINT or SIGTERM, cancel at the
                second; only in the main thread. A handler that will not
                end, though cancelled, then ends the process, with status
                70, after everything else was settled or given back.

        Raises:
            Fatal: if the store cannot be used; what was in flight was
                settled as far as possible.
            ValueError: if both *burst* and *until_empty* are asked for.
            WrongState: if it runs already.
            SystemExit, KeyboardInterrupt: if a handler raised it; its task
                was given back.

        Cancellation:
            A drain without grace: handlers are cancelled and have
            `cancel_grace` to clean up; ended tasks are settled, the others
            given back uncharged. No phase lasts longer than `cancel_grace`.
        """
        if self._shift is not None and self._shift.machine.state is not State.STOPPED:
            msg = f"worker {self.name!r} runs already: build another one to run two"
            raise WrongState(msg)
        if burst and until_empty:
            msg = (
                f"worker {self.name!r}: run() ends by burst or by until_empty, got both; "
                "until_empty waits for tasks of the future, burst leaves them"
            )
            raise ValueError(msg)
        until = Until.EMPTY if until_empty else Until.BURST if burst else Until.STOPPED
        shift = self._shift = Shift(self._plan, until, owns_process=signals)
        if not signals:
            await shift.run()
            return
        await _beside(shift.run, partial(_obey_signals, shift))

    async def run_until(self, stop: Callable[[], Awaitable[object]], /) -> None:
        """
        Work until *stop*, an async function, answers; then drain.

        Raises:
            As `run`; an error of *stop* is raised after the drain.
            TypeError: if *stop* is no function; nothing was started.
        """
        if not callable(stop):
            msg = f"worker {self.name!r}: run_until() takes an async function, got {stop!r}"
            raise TypeError(msg)

        async def wait_and_drain() -> None:
            await checkpoint()  # with eager tasks this would begin before the worker does
            shift = self._shift
            assert shift is not None  # noqa: S101 - made by `run`, which has begun
            try:
                await stop()
            except Exception as error:  # noqa: BLE001 - the user's own; raised by `run`
                shift.fail(error)
            else:
                shift.stop()

        await _beside(self.run, wait_and_drain)

    def run_sync(
        self,
        *,
        burst: bool = False,
        until_empty: bool = False,
        backend: Literal["asyncio", "trio"] = "asyncio",
    ) -> None:
        """
        Open the storage, work, and close it: a whole program, without ``await``.

        In the main thread, signals are obeyed as with ``run(signals=True)``.

        Args:
            burst: As in `run`.
            until_empty: As in `run`.
            backend: The event loop to run on.

        Raises:
            WrongState: if an event loop runs in this thread.
        """
        if loop_runs():
            msg = f"worker {self.name!r}: an event loop runs in this thread; await run() instead"
            raise WrongState(msg)
        main_thread = threading.current_thread() is threading.main_thread()

        async def main() -> None:
            async with self._plan.backend:
                await self.run(burst=burst, until_empty=until_empty, signals=main_thread)

        anyio.run(main, backend=backend)

    async def call(self, task: Task[A], /) -> R:
        """Take one task through the stack, without claiming or settling: for tests and tools."""
        async with self._plan.handler.opened():
            result: R = await self._plan.service.call(task)
        return result

    def on_event(self, listener: Listener, /) -> Worker[A, R]:
        """Answer a worker of the same stack that calls *listener*, too; see `Builder.on_event`."""
        listeners = (*self._plan.listeners, listener)
        return Worker(attrs.evolve(self._plan, listeners=listeners))

    def explain(self) -> str:
        """Describe what happens to a task: the stack, the parameters, attempts and limits."""
        return explain(self._plan)

    def __repr__(self) -> str:
        """Show name, backend and state."""
        return f"<Worker {self.name!r} on {self._plan.backend!r} {self.state.value}>"


async def _beside(
    work: Callable[[], Awaitable[None]], other: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Do *work*, and *other* as long as it lasts; what *work* raises is raised as it is."""
    raised: BaseException | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(other)
        try:
            await work()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - raised below, outside the group
            raised = error
        group.cancel_scope.cancel()
    if raised is not None:
        raise raised


async def _obey_signals(shift: Shift) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async for _ in received:
            if shift.machine.state is State.DRAINING:
                shift.hurry()
            shift.stop()
