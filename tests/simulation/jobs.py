"""What simulated tasks do: a script in each payload, one step of it for each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

import attrs
import trio

from layered import Abort, RetryAfter, Router, Snooze, Task, WorkerContext
from layered.errors import BackendError, WrongState

if TYPE_CHECKING:
    from tests.simulation.crew import Shiftwork

FIRST_STEPS = (
    *("work", "fail", "snooze", "again", "hang", "swallow"),
    *("stray", "exit", "crash", "pause", "cancel", "push", "spawn"),
)
LAST_STEPS = ("work", "work", "work", "work", "push", "swallow", "fail", "abort", "crash")
STUBBORN = 1.5
"""Seconds for which a handler may go on though it was cancelled."""


@attrs.frozen
class Step:
    """What one run does: a word, see `perform`, and how many seconds it takes."""

    what: str
    seconds: float


@attrs.frozen
class Job:
    """A task: its number and a step for each run, the last one for all further runs."""

    number: int
    steps: Sequence[Step]
    children: int = 0


@attrs.frozen
class Chore(Job):
    """A task of another name."""


def draw_job(chance: Random, number: int, words: Sequence[str]) -> Job:
    """Draw a script; all steps but the last are of *words*."""
    firsts = chance.choices(words, k=chance.choice((0, 0, 1, 1, 2)))
    script = [*firsts, chance.choice(LAST_STEPS)]
    steps = [Step(what, round(chance.choice((0.0, 0.1, 0.5, 1.4, 3.0)), 3)) for what in script]
    return chance.choice((Job, Job, Chore))(number, steps, chance.randint(1, 2))


def child_id(parent: str, index: int) -> str:
    """Derive a child's id: the same in each run of its parent."""
    return str(UUID(int=UUID(parent).int + 1 + index))


def handlers(shift: Shiftwork) -> Router[Job]:
    """Make the handlers of one process."""

    async def handle(job: Job, task: Task[Job], ctx: WorkerContext) -> int:
        with shift.world.checking():
            number = shift.watch.begin(shift, task)
        step = job.steps[min(number, len(job.steps) - 1)]
        shift.world.note(shift.process.name, "run", task.id, int(task.attempt), step.what)
        try:
            return await perform(shift, job, step, task, ctx)
        finally:
            with shift.world.checking():
                shift.watch.end(shift, task)

    return Router().route(Job, handle).route(Chore, handle)


async def perform(
    shift: Shiftwork, job: Job, step: Step, task: Task[Job], ctx: WorkerContext
) -> int:
    """Do one step."""
    match step.what:
        case "hang":
            await trio.sleep(8)
        case "swallow":
            await _swallow(shift, step.seconds, task)
        case "crash":
            shift.kill()
            await trio.sleep_forever()
        case "pause":
            await _pause(step.seconds, ctx)
        case "cancel":
            ctx.cancel(task.id)
        case "push":
            await _push(shift, job, task)
        case "spawn":
            ctx.spawn(trio.sleep, step.seconds)
    await trio.sleep(step.seconds)
    if step.what in FAILURES:
        raise FAILURES[step.what](step.seconds)
    if step.what == "stray":
        raise await _leaked_cancellation()
    return job.number


FAILURES: Mapping[str, Callable[[float], BaseException]] = {
    "fail": ValueError,
    "exit": SystemExit,
    "snooze": Snooze,
    "again": RetryAfter,
    "abort": lambda _: Abort(),
}


async def _swallow(shift: Shiftwork, seconds: float, task: Task[Job]) -> None:
    """Go on for a while although cancelled."""
    shift.watch.excuse(shift, task)
    try:
        await trio.sleep(2 * seconds)
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            await trio.sleep(min(seconds, STUBBORN))


async def _pause(seconds: float, ctx: WorkerContext) -> None:
    with suppress(WrongState):  # it drains
        ctx.pause()
    try:
        await trio.sleep(seconds)
    finally:
        with suppress(WrongState):
            ctx.resume()


async def _push(shift: Shiftwork, job: Job, task: Task[Job]) -> None:
    """Push children, whose ids are the same in each run."""
    for index in range(job.children):
        child = Job(job.number * 100 + index, [Step("work", 0.1)])
        try:
            await shift.link.push(child, id=child_id(task.id, index), priority=index * 4)
        except BackendError as error:
            raise RetryAfter(0.5) from error


async def _leaked_cancellation() -> BaseException:
    """Carry a cancellation out of the scope that it belongs to."""
    leaked: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            leaked.append(error)
            raise
    return leaked[0]
