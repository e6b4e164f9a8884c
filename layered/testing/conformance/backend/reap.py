"""Rules of reap: what becomes of the tasks of lost workers."""

from __future__ import annotations

from datetime import timedelta

import anyio
import anyio.to_thread

from layered.backend import Claimant, Reaped
from layered.task import Status
from layered.testing.conformance.backend.store import (
    LOST,
    ME,
    Store,
    draft,
)
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal, true


async def lose(store: Store) -> Reaped:
    """Claim the one task, lose it, and move the clock on to where it is due again."""
    await store.lease(LOST)
    reaped = await store.reap()
    equal(len(reaped), 1, "the number of tasks reaped")
    await store.clock.advance(60)
    return reaped[0]


@rule()
async def a_lost_task_comes_back(store: Store) -> None:
    """A task whose worker is lost is retried soon, and keeps who lost it."""
    lease = await store.running(LOST, payload=b"input")

    reaped = await store.reap()
    record = await store.read(lease.id)
    delay = record.due_at - store.clock.now
    await store.clock.advance(60)
    again = await store.lease()

    equal(reaped, [Reaped(lease.id, "a", Status.RETRY)], "what was reaped")
    row = (record.status, record.lost, record.payload)
    equal(row, (Status.RETRY, 1, b"input"), "state, lost and payload")
    true(timedelta() <= delay <= timedelta(seconds=30), "it comes back within 30 s")
    equal([failure.type for failure in record.errors], ["worker_lost"], "the types of its errors")
    true("lost" in record.errors[0].message, "the error names the owner, 'lost'")
    run = (again.attempt, again.lost, again.fence.epoch)
    equal(run, (2, 1, 2), "attempt, lost and epoch of the next run")


@rule()
async def a_task_that_loses_its_workers_is_dead(store: Store) -> None:
    """At `max_lost` lost workers a task is dead, with payload and the last worker's name."""
    one = draft(payload=b"poison", max_lost=2)
    await store.push(one)

    states = [(await lose(store)).status for _ in range(2)]
    record = await store.read(one.id)

    equal(states, [Status.RETRY, Status.DEAD], "the states after each loss")
    row = (record.status, record.payload, record.lost)
    equal(row, (Status.DEAD, b"poison", 2), "state, payload and lost")
    types = [failure.type for failure in record.errors]
    equal(types, ["worker_lost", "worker_lost"], "the types of its errors")
    true(record.finished_at is not None, "it has an end")
    equal(len(await store.claim()), 0, "the number of tasks claimed after it")


@rule()
async def a_lost_run_counts_for_max_attempts(store: Store) -> None:
    """A task that may run once is dead when its worker is lost."""
    await store.push(draft(max_attempts=1))

    equal((await lose(store)).status, Status.DEAD, "the state after the loss")


@rule()
async def reaping_goes_on_where_it_stopped(store: Store) -> None:
    """No more than the limit at a time, and none is left out or taken twice."""
    await store.push(*(draft() for _ in range(7)))
    leases = await store.claim(LOST)

    turns = [await store.reap(3) for _ in range(4)]

    equal([len(turn) for turn in turns], [3, 3, 1, 0], "the numbers reaped in turns of 3")
    reaped = {each.id for turn in turns for each in turn}
    equal(reaped, {lease.id for lease in leases}, "what was reaped")


@rule()
async def tasks_that_are_not_lost_do_not_hide_others(store: Store) -> None:
    """Running tasks with live leases never stand before overdue ones."""
    await store.push(*(draft() for _ in range(20)))
    await store.claim(ME, 19)
    lost = await store.lease(LOST)

    equal([each.id for each in await store.reap(1)], [lost.id], "what was reaped")


@rule()
async def reaping_is_fair(store: Store) -> None:
    """However many are lost meanwhile, those lost before them are not left behind."""
    old = [(await store.running(LOST, max_lost=1)).id for _ in range(3)]
    reaped: list[str] = []

    for _ in range(9):
        await store.running(LOST, max_lost=1)
        reaped += [each.id for each in await store.reap(1)]

    left = [task_id for task_id in old if task_id not in reaped]
    equal(left, [], "those of the first three lost that were not among nine reaped")


@rule()
async def reaping_is_for_all_queues_and_names(store: Store) -> None:
    """Any worker takes any lost task, whatever it handles itself."""
    lost = draft(queue="elsewhere", name="other")
    await store.push(lost)
    await store.claim(Claimant("elsewhere", "lost", lease=0.0), names=["other"])

    equal([(one.id, one.name) for one in await store.reap()], [(lost.id, "other")], "the reaped")


@rule()
async def a_lost_task_gives_hints(store: Store) -> None:
    """A reaped task may be claimed again, and one that is dead by it has ended."""
    pushed: list[None] = []
    ended: list[None] = []
    await store.push(draft(), draft(max_lost=1))
    await store.claim(LOST)

    with (
        store.storage.pushed.listening(lambda: pushed.append(None)),
        store.storage.ended.listening(lambda: ended.append(None)),
    ):
        await store.reap()

    true(pushed, "a listener of `pushed` hears of a reap")
    true(ended, "a listener of `ended` hears of a task that is dead by a reap")


@rule()
async def a_task_reaped_by_many_is_lost_once(store: Store) -> None:
    """Every worker reaps: those that do it at the same time charge a task once in all."""
    await store.push(*(draft(max_lost=9) for _ in range(5)))
    leases = await store.claim(LOST)
    reaped: list[Reaped] = []

    async def reap() -> None:
        reaped.extend(await store.reap())

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(reap)

    ids = [lease.id for lease in leases]
    equal(sorted(each.id for each in reaped), sorted(ids), "what was reaped by all of them")
    equal([record.lost for record in await store.read_all(*ids)], [1] * 5, "the losses")
