"""What do injected parameters cost? A compiled call beside the same call written by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from benchmarks.dispatch import handled, make_lease
from benchmarks.mail import MAIL, Mail, State
from benchmarks.rounds import Case, fastest
from benchmarks.table import Line, Table
from layered import Attempt, Data, Task, TaskId
from layered.task import Run

LOOPS = ("",)  # no loop has a part in it
ROUNDS = 200
CALLS = 2000

STATE = State()
TASK = Task(MAIL, Run(make_lease()))


async def lasting(mail: Mail, one: Data[State], two: Data[State], three: Data[State]) -> None:
    """Take three values of the worker's life."""


async def lasting_by_hand(task: Task[Any]) -> None:
    """Write what the compiled call does."""
    return await lasting(task.args, STATE, STATE, STATE)


async def mixed(mail: Mail, state: Data[State], attempt: Attempt, task_id: TaskId) -> None:
    """Take one value of the worker's life and two of the run."""


async def mixed_by_hand(task: Task[Any]) -> None:
    """Write what the compiled call does."""
    run: Any = task.run
    return await mixed(task.args, STATE, run.attempt, run.record.id)


async def measure() -> list[Table]:
    """Compare the two, twice."""
    cases = {
        "lasting by hand": _calls(lasting_by_hand),
        "lasting": _calls(handled(lasting, STATE).call),
        "mixed by hand": _calls(mixed_by_hand),
        "mixed": _calls(handled(mixed, STATE).call),
    }
    best = await fastest(cases, ROUNDS)
    lines = []
    for name, values in (("lasting", "three Data"), ("mixed", "a Data, Attempt and TaskId")):
        floor = best[f"{name} by hand"]
        lines += [
            Line(f"{values}, written by hand", floor),
            Line(f"{values}, injected", best[name], floor, times=1.3),
        ]
    return [Table("injection", "A call with injected parameters, beside one by hand", lines)]


def _calls(call: Callable[[Task[Any]], Awaitable[object]]) -> Case:
    async def many() -> float:
        start = perf_counter()
        for _ in range(CALLS):
            await call(TASK)
        return (perf_counter() - start) / CALLS

    return many
