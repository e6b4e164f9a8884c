"""Rules of requeue: dead and cancelled tasks run again, from the start."""

from __future__ import annotations

from functools import partial

from typing_extensions import Unpack

from layered.backend import (
    Cancels,
    Change,
    Failure,
    Limits,
    Release,
    Renew,
    Requeues,
    Retry,
    Settle,
)
from layered.task import Lease, Status, new_id
from layered.testing.conformance.backend.race import at_once
from layered.testing.conformance.backend.store import (
    ENDINGS,
    FAILURE,
    LOST,
    Fields,
    Store,
    done,
    draft,
    ends,
    unchanged,
)
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal, true


async def requeue(store: Store, *ids: str) -> list[Change]:
    """Requeue tasks, in one call."""
    return list(await store.control.requeue(ids))


async def ended(store: Store, ending: str = "dead", **fields: Unpack[Fields]) -> Lease:
    """Push, claim and end a task; answer the lease of its run."""
    lease = await store.running(**fields)
    await store.settle(ends(lease, ENDINGS[ending]))
    return lease


@rule_of(Requeues)
async def a_dead_or_cancelled_task_runs_again(store: Store) -> None:
    """It is ready and due now, as one that has not run, but keeps its errors and its epoch."""
    leases = [await ended(store, name, priority=9) for name in ("dead", "cancelled")]
    ids = [lease.id for lease in leases]
    await store.clock.advance(5)

    changes = await requeue(store, *ids)
    records = await store.read_all(*ids)
    again = await store.claim()

    equal(changes, [Change(one, Status.READY, changed=True) for one in ids], "the answers")
    for record in records:
        found = (record.status, record.due_at, record.finished_at, record.result)
        equal(found, (Status.READY, store.clock.now, None, None), "state, due_at, end and result")
        equal((record.attempt, record.lost, record.epoch), (0, 0, 1), "attempt, lost and epoch")
        equal((record.priority, record.payload), (9, b"1"), "priority and payload")
    equal([list(one.errors) for one in records], [[FAILURE], []], "the errors")
    equal([lease.id for lease in again], sorted(ids), "what can be claimed")
    runs = {(lease.attempt, lease.fence.epoch, lease.lost) for lease in again}
    equal(runs, {(1, 2, 0)}, "attempt, epoch and losses of the next runs")


@rule_of(Requeues)
async def what_is_not_dead_or_cancelled_is_not_requeued(store: Store) -> None:
    """Done is never left, and what is live runs anyway."""
    leases = [await ended(store, "done"), await ended(store, "retry")]
    running, ready, scheduled = await store.running(), draft(), draft(delay=5.0)
    await store.push(ready, scheduled)
    ids = [*(lease.id for lease in leases), running.id, ready.id, scheduled.id]
    before = await store.read_all(*ids)
    await store.clock.advance(1)

    changes = await requeue(store, *ids)

    wanted = [Change(one.id, one.status, changed=False) for one in before]
    equal(changes, wanted, "the answers")
    for was, now in zip(before, await store.read_all(*ids), strict=True):
        unchanged(was, now, f"a requeue of a task that is {was.status.label}")
    equal(await store.settle(done(running)), ["applied done"], "the answer to the run's settle")


@rule_of(Requeues)
async def requeues_are_answered_in_order(store: Store) -> None:
    """One answer per id, also for ids that are not there."""
    dead, other, missing = await ended(store), await ended(store), new_id()
    done_one = await ended(store, "done")

    changes = await requeue(store, missing, dead.id, done_one.id)

    wanted = [
        Change(missing, None, changed=False),
        Change(dead.id, Status.READY, changed=True),
        Change(done_one.id, Status.DONE, changed=False),
    ]
    equal(changes, wanted, "the answers")
    equal((await store.read(other.id)).status, Status.DEAD, "the state of another task")
    equal(await requeue(store), [], "the answer for no ids")


@rule_of(Requeues)
async def a_requeue_may_be_repeated(store: Store) -> None:
    """The second finds a task that is ready, or runs, and changes nothing."""
    dead = await ended(store)
    await requeue(store, dead.id)
    before = await store.read(dead.id)
    await store.clock.advance(1)

    changes = await requeue(store, dead.id)
    unchanged(before, await store.read(dead.id), "the second requeue")
    lease = await store.lease()
    changes += await requeue(store, dead.id)

    states = [(one.status, one.changed) for one in changes]
    wanted = [(Status.READY, False), (Status.RUNNING, False)]
    equal(states, wanted, "the answers for a task that is ready, and then runs")
    equal(await store.settle(done(lease)), ["applied done"], "the answer to the run's settle")


@rule_of(Requeues)
async def a_requeue_gives_a_hint(store: Store) -> None:
    """The task may be claimed: somebody wants to know."""
    dead = await ended(store)
    heard: list[None] = []

    with store.storage.pushed.listening(lambda: heard.append(None)):
        await requeue(store, dead.id)

    true(heard, "a listener of `pushed` hears of a requeue")


@rule_of(Requeues)
async def a_requeue_lifts_an_expiry(store: Store) -> None:
    """Who requeues a task that has expired wants it to run, however late."""
    one = draft(expires_at=store.clock.now)
    await store.push(one)
    await store.storage.prune(10)
    equal((await store.read(one.id)).status, Status.DEAD, "the state of an expired task")

    await requeue(store, one.id)
    await store.storage.prune(10)

    equal((await store.lease()).id, one.id, "what can be claimed")


@rule_of(Requeues)
async def a_requeued_task_has_all_its_attempts(store: Store) -> None:
    """As many runs as it was pushed with, and as many losses."""
    last = await ended(store, "retry", max_attempts=1)
    equal((await store.read(last.id)).status, Status.DEAD, "the state after its only run")
    await requeue(store, last.id)
    again = await store.lease(LOST)
    reaped = await store.reap()
    lost = await store.running(LOST, max_lost=1)
    await store.reap()
    await requeue(store, lost.id)

    equal([one.status for one in reaped], [Status.DEAD], "the state after its second only run")
    equal(again.attempt, 1, "the attempt of that")
    equal((await store.read(lost.id)).lost, 0, "the losses of a requeued task")
    equal((await store.lease()).lost, 0, "the losses that its next run is told of")


@rule_of(Requeues)
async def a_requeued_task_may_be_retried(store: Store) -> None:
    """What counts is its runs since; errors go on being kept."""
    dead = await ended(store, max_attempts=2)
    await requeue(store, dead.id)
    lease = await store.lease()

    answer = await store.settle(Settle(lease.fence, Retry(Failure("E", "again"), 0.0), 1))
    record = await store.read(dead.id)

    equal(answer, ["applied retry"], "the answer to a retry after one run of two")
    equal([one.type for one in record.errors], ["ValueError", "E"], "the errors")


@rule_of(Requeues)
async def the_fence_before_a_requeue_is_stale(store: Store) -> None:
    """A worker that lost the task before cannot write to its next run."""
    dead = await ended(store)
    await requeue(store, dead.id)
    lease = await store.lease()
    before = await store.read(dead.id)

    answers = [
        *await store.renew(Renew(dead.fence, 9)),
        *await store.settle(done(dead)),
        *await store.release(Release(dead.fence, 0.0, 9)),
    ]

    equal(answers, ["stale"] * 3, "the answers to writes of the run before")
    unchanged(before, await store.read(dead.id), "a write of the run before")
    equal(await store.settle(done(lease)), ["applied done"], "the answer to the new run's settle")


@rule_of(Requeues, Cancels)
async def a_requeue_takes_back_a_cancel(store: Store) -> None:
    """The next run is not asked to stop, nor is its retry taken for a cancelled one."""
    lease = await store.running()
    await store.control.cancel([lease.id])
    await store.settle(ends(lease, ENDINGS["retry"]))

    changes = await requeue(store, lease.id)
    record = await store.read(lease.id)
    again = await store.lease()

    equal(changes, [Change(lease.id, Status.READY, changed=True)], "the answer")
    true(not record.cancel_requested, "a requeued task is not asked to stop")
    equal(await store.renew(Renew(again.fence, 1)), ["ok"], "the answer to a renewal")
    answer = await store.settle(ends(again, ENDINGS["retry"]))
    equal(answer, ["applied retry"], "the answer to a retry")


@rule_of(Requeues, limits=Limits(keep_done=0.0, keep_dead=0.0, tombstone=600.0))
async def a_tombstone_is_not_requeued(store: Store) -> None:
    """Its arguments are gone."""
    leases = [await ended(store, name) for name in ("dead", "cancelled")]
    ids = [lease.id for lease in leases]
    await store.storage.prune(10)
    before = await store.read_all(*ids)

    changes = await requeue(store, *ids)

    equal([one.payload for one in before], [b"", b""], "the arguments of tombstones")
    wanted = [Change(one.id, one.status, changed=False) for one in before]
    equal(changes, wanted, "the answers")
    equal(len(await store.claim()), 0, "the number of tasks claimed")


@rule_of(Requeues)
async def a_task_without_arguments_may_be_requeued(store: Store) -> None:
    """No bytes are arguments as any: such a task is not taken for a tombstone."""
    dead = await ended(store, payload=b"")

    changes = await requeue(store, dead.id)

    equal(changes, [Change(dead.id, Status.READY, changed=True)], "the answer")


@rule_of(Requeues, limits=Limits(keep_done=10.0, keep_dead=10.0, tombstone=0.0))
async def a_requeued_task_is_not_pruned(store: Store) -> None:
    """Its retention begins anew with its next end."""
    dead = await ended(store)
    await store.clock.advance(9)
    await requeue(store, dead.id)
    await store.clock.advance(9)
    await store.storage.prune(10)
    lease = await store.lease()
    await store.settle(ends(lease, ENDINGS["dead"]))
    await store.clock.advance(9)
    await store.storage.prune(10)

    equal((await store.read(dead.id)).payload, b"1", "the arguments within its retention")

    await store.clock.advance(1)
    await store.storage.prune(10)
    equal(await store.storage.get(dead.id), None, "what is left after it")


@rule_of(Requeues)
async def a_task_is_requeued_by_one_of_many(store: Store) -> None:
    """Of requeues at the same time one says that it changed the task, and it runs once."""
    dead = await ended(store)

    answers = await at_once(*[partial(requeue, store, dead.id)] * 10)

    equal({change.status for (change,) in answers}, {Status.READY}, "the states answered")
    equal(sum(change.changed for (change,) in answers), 1, "the number that changed it")
    equal(len(await store.claim()), 1, "the number of tasks claimed")


@rule_of(Requeues)
async def many_tasks_are_requeued_in_one_call(store: Store) -> None:
    """In any order, each with what is its own."""
    await store.push(*(draft(payload=str(number).encode()) for number in range(300)))
    leases = await store.claim(most=300)
    await store.settle(*(ends(lease, ENDINGS["dead"]) for lease in leases))

    ids = [lease.id for lease in leases[::-1]]
    changes = await requeue(store, *ids)
    again = await store.claim(most=300)

    equal(changes, [Change(one, Status.READY, changed=True) for one in ids], "the answers")
    found = {(lease.id, lease.payload) for lease in again}
    equal(found, {(lease.id, lease.payload) for lease in leases}, "the tasks claimed")
