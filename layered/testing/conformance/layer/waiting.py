"""Rules of back-pressure: what `ready` and `capacity` say, and whose turn it is."""

from __future__ import annotations

import anyio

from layered.testing.conformance.layer.call import Call, comes, ended, settled, soon, started, until
from layered.testing.conformance.layer.suite import rule
from layered.testing.conformance.layer.trial import MANY, Trial
from layered.testing.conformance.rule import equal, true


@rule
async def has_room_when_nothing_runs(trial: Trial) -> None:
    """A new service around one that has room says a capacity of 1 or more, and is ready."""
    true(trial.capacity >= 1, f"capacity() is 1 or more, and not {trial.capacity}")
    asking = trial.start(Call.ask)
    await until(asking.moved, "ready() returns")
    true(asking.error is None, f"ready() raises nothing, not {asking.error!r}")


@rule
async def starts_as_many_calls_as_its_capacity_says(trial: Trial) -> None:
    """If `capacity` says n, so many calls reach the inner service now, without waiting."""
    trial.inner.holds = True
    running = 0
    while running < MANY and (said := trial.service.capacity()) > 0:
        calls = [trial.start() for _ in range(min(said, MANY - running))]
        await soon(started(calls))
        late = sum(not call.started for call in calls)
        what = f"with {running} running and capacity() {said}, {len(calls)} calls start now"
        true(not late, f"{what}; {late} did not")
        running += len(calls)


@rule
async def never_says_a_capacity_below_zero(trial: Trial) -> None:
    """`capacity` is 0 or more, also while calls wait."""
    await trial.fill()
    await trial.wait_in_call(3)

    said = trial.service.capacity()

    true(said >= 0, f"capacity() is 0 or more, and not {said!r}")


@rule
async def says_no_more_than_the_inner_capacity(trial: Trial) -> None:
    """`capacity` is at most the inner service's, unless the layer declares that it `absorbs`."""
    if trial.subject.absorbs:
        return
    for room in (0, 1, 5):
        trial.inner.room = room
        said = trial.service.capacity()
        true(said <= room, f"capacity() is at most {room}, the inner one's, and not {said}")


@rule
async def waits_in_ready_for_the_inner_service(trial: Trial) -> None:
    """`ready` waits until the inner service is, unless the layer declares that it `absorbs`."""
    if trial.subject.absorbs:
        return
    trial.inner.opens = anyio.Event()

    asking = trial.start(Call.ask)

    true(not await soon(asking.moved), "ready() waits for the inner service's")
    trial.inner.opens.set()
    await until(lambda: asking.asked, "ready() returns when the inner service's does")


@rule
async def passes_the_error_of_the_inner_ready_on(trial: Trial) -> None:
    """What the inner service's `ready` raises comes out of `ready` as the same object."""
    trial.inner.unready = error = trial.subject.error()

    asking = trial.start(Call.ask)
    await until(ended([asking]), "ready() ends")

    if not (trial.subject.absorbs and asking.asked):
        true(asking.error is error, f"ready() raises the inner {error!r}, not {asking.error!r}")


@rule
async def waits_in_ready_while_it_is_full(trial: Trial) -> None:
    """`ready` does not return while `capacity` stays 0: a driver would spin."""
    await trial.fill()
    if trial.service.capacity() > 0:
        return

    asking = trial.start(Call.ask)

    true(not await soon(asking.moved), "ready() waits while capacity() is 0")


@rule
async def wakes_all_in_ready(trial: Trial) -> None:
    """One place that comes free wakes all that wait in `ready`, also when one has gone away."""
    held = await trial.fill()
    if trial.service.capacity() > 0:
        return
    asking = [trial.start(Call.ask) for _ in range(4)]
    await settled()

    asking[0].scope.cancel()
    held[0].go.set()

    await comes(ended(asking))
    equal([call.asked for call in asking[1:]], [True] * 3, "which of three ready() returned")


@rule
async def reserves_nothing_in_ready(trial: Trial) -> None:
    """Who asked and never calls takes no room."""
    for _ in range(3):
        asking = trial.start(Call.ask)
        await until(ended([asking]), "ready() returns while there is room")
        equal(trial.service.capacity(), trial.capacity, "capacity() after ready()")
    await trial.unharmed()


@rule
async def serves_waiters_in_the_order_of_their_coming(trial: Trial) -> None:
    """Calls that wait get their turns first come, first served."""
    held = await trial.fill()
    waiting = await trial.wait_in_call(5)
    if not waiting:
        return

    for call in (*held, *waiting):  # one by one: what ends in one turn ends in no order
        call.go.set()
        await settled()
    await until(ended(waiting), "all that wait have their turns")

    turns = [call.number for call in trial.inner.started[len(held) :]]
    equal(turns, [call.number for call in waiting], "the order of turns")


@rule
async def serves_calls_before_those_who_only_ask(trial: Trial) -> None:
    """A place that comes free goes to who waits in `call`, not to who waits in `ready`."""
    held = await trial.fill()
    asking = trial.start(Call.ask_and_run)
    waiting = await trial.wait_in_call(1)
    if not waiting or asking.asked:
        return

    for call in (*held, *waiting, asking):
        call.go.set()
        await settled()
    await until(ended([asking, *waiting]), "both have their turns")

    true(trial.inner.started[len(held)] is waiting[0], "the call that waited goes first")
