"""Rules of what a requeue does with dedup keys: one live task for each, still."""

from __future__ import annotations

from functools import partial

from layered.backend import Change, Dedups, Pushed, Requeues
from layered.task import Status
from layered.testing.conformance.backend.dedup import KEEP, holder, keyed
from layered.testing.conformance.backend.race import at_once
from layered.testing.conformance.backend.store import ENDINGS, Store, done, ends, unchanged
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal, true


@rule_of(Dedups, Requeues)
async def a_requeue_does_not_take_a_key_from_a_live_task(store: Store) -> None:
    """The answer names the holder; once that has ended the requeue takes the key."""
    lease, other = await store.running(dedup=KEEP), keyed()
    await store.settle(ends(lease, ENDINGS["dead"]))
    await store.push(other)
    before = await store.read(lease.id)

    refused = list(await store.control.requeue([lease.id]))
    unchanged(before, await store.read(lease.id), "a requeue that was refused")
    await store.settle(done(await store.lease()))
    changes = list(await store.control.requeue([lease.id]))

    wanted = Change(lease.id, Status.DEAD, changed=False, holder=other.id)
    equal(refused, [wanted], "the answer while another has the key")
    equal(changes, [Change(lease.id, Status.READY, changed=True)], "the answer after that")
    equal(await holder(store), lease.id, "who holds the key")
    answers = await store.push(keyed())
    equal(answers, [Pushed(lease.id, Status.READY)], "the answer to a push with the key")


@rule_of(Dedups, Requeues)
async def a_requeued_task_keeps_its_own_window(store: Store) -> None:
    """Its window is no hindrance to itself, and ends when it would have ended."""
    lease = await store.running(dedup=KEEP._replace(window=60.0))
    await store.settle(ends(lease, ENDINGS["dead"]))

    changes = list(await store.control.requeue([lease.id]))
    await store.settle(done(await store.lease()))
    await store.clock.advance(59.5)
    within = await holder(store)
    await store.clock.advance(0.5)

    equal(changes, [Change(lease.id, Status.READY, changed=True)], "the answer")
    equal(within, lease.id, "who holds the key within the window")
    equal(await holder(store), None, "who holds it after that")


@rule_of(Dedups, Requeues)
async def a_window_of_another_holds_up_a_requeue(store: Store) -> None:
    """A key is held by an ended task, too, while its window is open."""
    lease = await store.running(dedup=KEEP)
    await store.settle(ends(lease, ENDINGS["dead"]))
    other = await store.running(dedup=KEEP._replace(window=5.0))
    await store.settle(done(other))

    within = list(await store.control.requeue([lease.id]))
    await store.clock.advance(5)
    after = list(await store.control.requeue([lease.id]))

    wanted = Change(lease.id, Status.DEAD, changed=False, holder=other.id)
    equal(within, [wanted], "the answer within the window")
    equal(after, [Change(lease.id, Status.READY, changed=True)], "the answer after it")


@rule_of(Dedups, Requeues)
async def of_two_of_one_key_one_is_requeued(store: Store) -> None:
    """In one call the first, and the second is told of it."""
    leases = []
    for _ in range(2):
        leases.append(await store.running(dedup=KEEP))
        await store.settle(ends(leases[-1], ENDINGS["dead"]))
    one, two = leases

    changes = list(await store.control.requeue([one.id, two.id]))

    wanted = [
        Change(one.id, Status.READY, changed=True),
        Change(two.id, Status.DEAD, changed=False, holder=one.id),
    ]
    equal(changes, wanted, "the answers")


@rule_of(Dedups, Requeues)
async def a_requeue_and_a_push_of_one_key_at_once_leave_one(store: Store) -> None:
    """The task is requeued, or the other is stored: never both live, never neither."""
    for _ in range(10):
        lease = await store.running(dedup=KEEP)
        await store.settle(ends(lease, ENDINGS["dead"]))
        other = keyed()

        await at_once(partial(store.control.requeue, [lease.id]), partial(store.push, other))

        live = await store.claim()
        equal(len(live), 1, "the number of tasks claimed")
        true(live[0].id in (lease.id, other.id), "it is one of the two")
        await store.settle(done(live[0]))
