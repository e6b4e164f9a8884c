"""`TestWorker`: a worker that works off what is due, and raises what handlers raised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from layered.errors import WrongState
from layered.task import Status
from layered.worker import State, StateChanged, TaskEnded, Worker

A = TypeVar("A")
R = TypeVar("R")


class TestWorker(Generic[A, R]):
    """
    A real worker for tests: runs what is due, then ends, with nothing left in flight.

    ::

        worker = TestWorker(WorkerBuilder("mail").backend(storage).build(send_email))
        await storage.push(Email("ada@example.org"))
        await worker.run_until_idle()

    Args:
        worker: As the program builds it; its layers keep their state.
        raises: Whether to raise what handlers raised.

    Attributes:
        events: All that the worker has told, in order.
    """

    __test__: ClassVar[bool] = False  # no test, although pytest reads it so by its name

    def __init__(self, worker: Worker[A, R], *, raises: bool = True) -> None:
        self._worker = worker.on_event(self._note)
        self._raises = raises
        self.events: list[object] = []

    async def _note(self, event: object) -> None:
        self.events.append(event)

    @property
    def ended(self) -> Sequence[TaskEnded]:
        """All runs that have ended, in order, each with its state and error."""
        return [event for event in self.events if isinstance(event, TaskEnded)]

    async def run_until_idle(self) -> Sequence[TaskEnded]:
        """
        Run every task that is due, and what becomes due meanwhile; future tasks stay.

        Returns:
            The runs that have ended now, in order.

        Raises:
            Exception: what a handler raised whose task is dead now, or was
                done by `WorkerContext.settle_in` before; the same object,
                when nothing is left to run; of several, an `ExceptionGroup`.
            WrongState: if other listeners are so slow that the worker ended
                before it had told everything.

        Cancellation:
            As `Worker.run`.
        """
        return await self._run(until_empty=False)

    async def run_until_empty(self) -> Sequence[TaskEnded]:
        """
        As `run_until_idle`, and wait for future tasks: at once, on virtual time.

        Raises:
            Exception: as `run_until_idle`.
        """
        return await self._run(until_empty=True)

    async def _run(self, *, until_empty: bool) -> Sequence[TaskEnded]:
        before = len(self.events)
        await self._worker.run(burst=not until_empty, until_empty=until_empty)
        events = self.events[before:]
        if StateChanged(self._worker.name, State.STOPPED) not in events:
            msg = (
                f"worker {self._worker.name!r} ended before its listeners had heard all: one of "
                "them is slow; leave it out, or give it more time: configure(cancel_grace=...)"
            )
            raise WrongState(msg)
        ended = [event for event in events if isinstance(event, TaskEnded)]
        # The error of a task that is done: it had settled itself. Others will run again.
        final = {Status.DEAD, Status.DONE}
        errors = [each.error for each in ended if each.status in final]
        failures = [error for error in errors if isinstance(error, Exception)]
        if self._raises and failures:
            _raise(failures)
        return ended

    def __repr__(self) -> str:
        """Show the worker."""
        return f"TestWorker({self._worker!r})"


def _raise(errors: Sequence[Exception]) -> None:
    if len(errors) == 1:
        raise errors[0]
    msg = f"{len(errors)} tasks failed"
    raise ExceptionGroup(msg, errors)
