"""Rules of paused queues: nothing is claimed of them, and what runs goes on."""

from __future__ import annotations

from datetime import datetime, timedelta

from layered.backend import Claimant, Pauses, Queue, Release, Renew
from layered.task import Status
from layered.testing.conformance.backend.store import (
    LOST,
    Store,
    done,
    draft,
)
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal, true

HERE, THERE = "default", "elsewhere"


async def pause(store: Store, seconds: float | None = None, queue: str = HERE) -> datetime | None:
    """Pause a queue for so long, by the store's clock; answer until when."""
    until = None if seconds is None else store.clock.now + timedelta(seconds=seconds)
    await store.control.pause(queue, until)
    return until


async def nothing(store: Store, rest: float | None) -> None:
    """Fail if a claim answers anything but that the pause goes on for *rest* seconds."""
    leases, more, next_due_in = await store.claimed()
    equal((list(leases), more), ([], False), "what a claim of a paused queue takes, and `more`")
    equal(next_due_in, rest, "next_due_in of a claim of a paused queue")


async def known(store: Store) -> list[Queue]:
    """List the queues."""
    return list(await store.control.queues())


@rule_of(Pauses)
async def nothing_is_claimed_of_a_paused_queue(store: Store) -> None:
    """Neither what is ready nor what falls due, until it is resumed; then in the usual order."""
    one, later = draft(), draft(delay=5.0, priority=9)
    await store.push(one, later)

    await pause(store)
    await nothing(store, None)
    await store.clock.advance(3600)
    await nothing(store, None)
    states = [record.status for record in await store.read_all(one.id, later.id)]
    await store.control.resume(HERE)
    leases = await store.claim()

    true(Status.RUNNING not in states, "no task of a paused queue runs")
    equal([lease.id for lease in leases], [later.id, one.id], "what is claimed after it")


@rule_of(Pauses)
async def a_pause_ends_at_its_instant(store: Store) -> None:
    """By the store's clock; until then a claim says how long it takes."""
    await store.push(draft(), draft(delay=1.0))

    await pause(store, 90.0)
    await nothing(store, 90.0)
    await store.clock.advance(89.5)
    await nothing(store, 0.5)
    await store.clock.advance(0.5)

    equal(len(await store.claim()), 2, "the number of tasks claimed at the instant")
    equal(await known(store), [Queue(HERE)], "the queues afterwards")


@rule_of(Pauses)
async def a_claim_tells_of_a_pause_when_nothing_is_stored(store: Store) -> None:
    """A worker may sleep that long: nothing that is pushed meanwhile can be claimed."""
    await pause(store, 5.0)
    await nothing(store, 5.0)
    await store.push(draft())
    await nothing(store, 5.0)


@rule_of(Pauses)
async def other_queues_are_not_paused(store: Store) -> None:
    """Whatever their names have in common."""
    for queue in ("elsewhere", "Default", "default ", "d%"):
        await store.push(draft(queue=queue))
    await pause(store, 60.0)

    for queue in ("elsewhere", "Default", "default ", "d%"):
        leases = await store.claim(Claimant(queue, "me"))
        equal(len(leases), 1, f"the number of tasks claimed of {queue!r}")


@rule_of(Pauses)
async def what_runs_when_a_queue_is_paused_goes_on(store: Store) -> None:
    """Runs are renewed, settled and released; lost ones are reaped."""
    lost = await store.running(LOST)
    await store.push(*(draft() for _ in range(3)))
    one, two, three = await store.claim()
    await pause(store)

    equal(await store.renew(Renew(one.fence, 1)), ["ok"], "the answer to a renewal")
    equal(await store.settle(done(two)), ["applied done"], "the answer to a settle")
    release = Release(three.fence, 0.0, 1)
    equal(await store.release(release), ["applied ready"], "the answer to a release")
    equal([each.id for each in await store.reap()], [lost.id], "what was reaped")
    await nothing(store, None)


@rule_of(Pauses)
async def a_paused_queue_takes_tasks(store: Store) -> None:
    """What is pushed waits; what expires expires."""
    await pause(store)
    one, late = draft(), draft(expires_at=store.clock.now + timedelta(seconds=5))
    await store.push(one, late)
    await store.clock.advance(5)
    await store.storage.prune(10)

    states = [record.status for record in await store.read_all(one.id, late.id)]

    equal(states, [Status.READY, Status.DEAD], "the states")


@rule_of(Pauses)
async def the_last_pause_counts(store: Store) -> None:
    """It may be longer than the one before, or shorter, or over already."""
    await store.push(draft())
    await pause(store, 60.0)
    await pause(store, 5.0)
    await nothing(store, 5.0)
    await pause(store)
    await nothing(store, None)
    await pause(store, 60.0)
    await nothing(store, 60.0)
    await pause(store, -5.0)

    equal(len(await store.claim()), 1, "the number of tasks claimed when the pause is past")


@rule_of(Pauses)
async def pause_and_resume_may_be_repeated(store: Store) -> None:
    """Twice is as good as once; what was not paused is as it was."""
    await store.push(draft(), draft())
    await store.control.resume(HERE)
    await store.control.resume(THERE)
    equal(len(await store.claim(most=1)), 1, "the number of tasks claimed")
    for _ in range(2):
        await pause(store)
    await nothing(store, None)
    for _ in range(2):
        await store.control.resume(HERE)

    equal(len(await store.claim()), 1, "the number of tasks claimed after the second resume")


@rule_of(Pauses)
async def queues_are_listed_by_name(store: Store) -> None:
    """The storage's own from the start, others once they were paused; each says until when."""
    first = await known(store)
    await pause(store, queue=THERE)
    until = await pause(store, 90.5, "another")
    paused = await known(store)
    await pause(store, 10.0)
    await store.control.resume(THERE)
    both = await known(store)

    equal(first, [Queue(HERE)], "the queues of a new store")
    other = Queue("another", paused=True, until=until)
    wanted = [other, Queue(HERE), Queue(THERE, paused=True)]
    equal(paused, wanted, "the queues after two were paused")
    soon = store.clock.now + timedelta(seconds=10)
    wanted = [other, Queue(HERE, paused=True, until=soon), Queue(THERE)]
    equal(both, wanted, "the queues after one was resumed")


@rule_of(Pauses)
async def a_resume_gives_a_hint(store: Store) -> None:
    """Tasks may be claimed again: somebody wants to know."""
    await pause(store)
    heard: list[None] = []

    with store.storage.pushed.listening(lambda: heard.append(None)):
        await store.control.resume(HERE)

    true(heard, "a listener of `pushed` hears of a resume")
