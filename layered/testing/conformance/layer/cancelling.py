"""Rules of cancellation: it passes through in every phase and leaves the service usable."""

from __future__ import annotations

import anyio
from anyio.lowlevel import checkpoint

from layered.testing.conformance.layer.call import Call, ended, soon, started, until
from layered.testing.conformance.layer.suite import rule
from layered.testing.conformance.layer.trial import MANY, Trial
from layered.testing.conformance.rule import true


@rule
async def passes_on_a_cancellation_of_the_inner_call(trial: Trial) -> None:
    """A call that is cancelled while the inner service works ends cancelled, once that has."""
    trial.inner.holds = True
    call = trial.start()
    await until(call.moved, "a call reaches the inner service")

    await _cancel(call)

    true(call.interrupted, "the cancellation reaches the inner service")
    true(call.cancelled, f"a cancelled call ends so; it ended with {call.error or call.answer!r}")
    await trial.unharmed()


@rule
async def is_unharmed_by_a_cancellation_at_any_step(trial: Trial) -> None:
    """Cancelled before the inner call, in it or after it, a call leaves the service as it was."""
    for steps in range(MANY):
        here = trial.another()
        call = here.start()
        call.steps = 3
        for _ in range(steps):
            await checkpoint()
        over = call.ended

        await _cancel(call)

        true(call.error is None, f"after {steps} turns no error comes of it, but {call.error!r}")
        if call.interrupted:
            true(call.cancelled, f"a call cancelled after {steps} turns ends so")
        if not call.cancelled:
            call.answered(f", cancelled after {steps} turns,")
        await here.unharmed()
        if over:
            return


@rule
async def forgets_a_waiter_that_was_cancelled(trial: Trial) -> None:
    """A call that is cancelled while it waits for its turn ends so, and holds up nobody."""
    held = await trial.fill()
    waiting = await trial.wait_in_call(3)
    if not waiting:
        return

    await _cancel(waiting[0])
    for call in (*held, *waiting):
        call.go.set()

    true(waiting[0].cancelled, "a cancelled call ends so")
    await until(ended(waiting), "those behind it have their turns")
    await trial.unharmed()


@rule
async def passes_on_the_turn_of_a_cancelled_waiter(trial: Trial) -> None:
    """A call that is cancelled just as its turn comes hands it to the next."""
    for steps in range(5):
        here = trial.another()
        held = await here.fill()
        waiting = await here.wait_in_call(2)
        if not waiting:
            return

        held[0].go.set()
        for _ in range(steps):
            await checkpoint()
        waiting[0].scope.cancel()

        what = f"the next has the turn of one that is cancelled {steps} turns after it came"
        await until(started(waiting[1:]), what)
        await here.unharmed()


@rule
async def passes_on_a_cancellation_of_ready(trial: Trial) -> None:
    """Who waits in `ready` can be cancelled, whether it waits for this service or the inner one."""
    await trial.fill()
    full = trial.start(Call.ask)
    inner = trial.another()
    inner.inner.opens = anyio.Event()
    waits = inner.start(Call.ask)

    for asking in (full, waits):
        if not await soon(asking.moved):
            await _cancel(asking)
            true(asking.cancelled, "a cancelled ready() ends so")

    inner.inner.opens.set()
    await trial.unharmed()
    await inner.unharmed()


async def _cancel(call: Call) -> None:
    call.scope.cancel()
    await until(ended([call]), "a call that was cancelled ends")
