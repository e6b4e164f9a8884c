"""Each operation of SQLite, its caller cancelled at each point of it."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from layered.backends.sqlite import lane
from layered.backends.sqlite.job import Job
from tests.backends.sqlite_storage import settled_down
from tests.failpoints.operations import Operation
from tests.failpoints.sqlite_bench import OPERATIONS, Bench, whole
from tests.failpoints.sqlite_wire import Run, Wired, pass_on

STEPS = 8
"""More steps of the event loop than any operation takes to hand over its work or its answer."""


class Gate:
    """A hook that stops the thread before the statement of this number, or after the last."""

    def __init__(self, number: int, last: int) -> None:
        self._number = number
        self._last = last
        self._count = 0
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, connection: Wired, statement: str, run: Run) -> Any:
        """Count, and stop."""
        number, self._count = self._count, self._count + 1
        if number == self._number:
            self._stop()
        result = run()
        if number + 1 == self._number == self._last:
            self._stop()
        return result

    def _stop(self) -> None:
        self.reached.set()
        self.go_on.wait(10)


class Caller:
    """Does an operation in a task of its own; `cancelled` says how it ended."""

    def __init__(self, bench: Bench, operation: Operation) -> None:
        self._bench = bench
        self._operation = operation
        self.scope = anyio.CancelScope()
        self.answer: object = None
        self.ended = False
        self.cancelled = False

    async def __call__(self) -> None:
        """Do it."""
        with self.scope:
            try:
                self.answer = await self._operation.run(self._bench.storage, self._bench.fences)
            except anyio.get_cancelled_exc_class():
                self.cancelled = True
                raise
            finally:
                self.ended = True


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_sqlite_operation_is_finished_when_its_caller_is_cancelled_amid_it(
    bench: Callable[[], Bench], operation: str
) -> None:
    """Begun is done, and the caller goes on after that; at the last stop only the reply is lost."""
    chosen = OPERATIONS[operation]
    statements, stages = await whole(bench(), chosen)

    for number in range(len(statements) + 1):
        stopped = bench()
        async with stopped.opened():
            gate, caller = Gate(number, len(statements)), Caller(stopped, chosen)
            stopped.wire.hook = gate
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(caller)
                await until(gate.reached)

                caller.scope.cancel()
                await settled_down()
                waits = not caller.ended
                gate.go_on.set()
            stopped.wire.hook = pass_on

            assert waits
            assert caller.cancelled
            found = await stopped.check(chosen, stages)
            if chosen.parts <= 1:
                assert found.outline() == stages[-1]
            await stopped.check_all_ends()


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each != "keeper's renew"])
async def test_sqlite_operation_has_no_effect_when_its_caller_is_cancelled_before_it(
    bench: Callable[[], Bench], operation: str
) -> None:
    """As long as the thread is busy with other work, whatever the loop has done by then."""
    chosen = OPERATIONS[operation]
    _, stages = await whole(bench(), chosen)

    for steps in range(STEPS):
        busy = bench()
        async with busy.opened():
            caller = Caller(busy, chosen)
            async with anyio.create_task_group() as tasks, busy.held():
                tasks.start_soon(caller)
                await checkpoints(steps)
                caller.scope.cancel()
                await settled_down()

            assert caller.cancelled
            found = await busy.check(chosen, stages)
            assert found.outline() == stages[0]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_sqlite_operation_stands_when_its_caller_is_cancelled_after_it(
    bench: Callable[[], Bench], monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """The thread has answered, and the answer is on its way through the loop."""
    chosen, answered, answer = OPERATIONS[operation], threading.Event(), lane._answer
    statements, stages = await whole(bench(), chosen)

    def note(jobs: Sequence[Job[Any]]) -> None:
        answer(jobs)
        answered.set()

    monkeypatch.setattr(lane, "_answer", note)
    lost = []
    for steps in range(STEPS):
        late = bench()
        async with late.opened():
            late.wire.hook = gate = Gate(0, len(statements))
            caller = Caller(late, chosen)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(caller)
                await until(gate.reached)
                answered.clear()
                gate.go_on.set()
                answered.wait(10)  # this stops the loop

                await checkpoints(steps)
                caller.scope.cancel()
            late.wire.hook = pass_on

            lost.append(caller.cancelled)
            assert caller.cancelled or caller.answer == chosen.first
            found = await late.check(chosen, stages)
            if chosen.parts <= 1:
                assert found.outline() == stages[-1]
            await late.check_all_ends()
    assert lost[0]


async def until(event: threading.Event) -> None:
    """Let the loop run until a thread has set *event*."""
    while not event.is_set():
        await anyio.lowlevel.checkpoint()


async def checkpoints(count: int) -> None:
    """Let the loop run for so many steps."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()
