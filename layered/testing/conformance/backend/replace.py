"""Rules of pushes that replace the task that holds their dedup key."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from typing_extensions import Unpack

from layered.backend import Dedups, Pushed, Release, Renew
from layered.task import Dedup, Draft, Lease, OnConflict, Status
from layered.testing.conformance.backend.dedup import KEEP, holder, keyed
from layered.testing.conformance.backend.race import at_once
from layered.testing.conformance.backend.store import (
    ENDINGS,
    FAILURE,
    LOST,
    Fields,
    Store,
    done,
    ends,
    unchanged,
)
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal

REPLACE = Dedup("key", OnConflict.REPLACE)


def new(**fields: Unpack[Fields]) -> Draft:
    """Make a task that replaces the one that holds its key."""
    fields.setdefault("dedup", REPLACE)
    fields.setdefault("payload", b"new")
    return keyed(**fields)


@rule_of(Dedups)
async def a_replaced_task_does_what_is_new(store: Store) -> None:
    """Its arguments, due time, expiry and priority are new; it is the same task, and runs once."""
    one = keyed(payload=b"old", metadata={"old": "1"}, max_attempts=3)
    await store.push(one)
    await store.clock.advance(5)
    now = store.clock.now
    other = new(name="b", codec="own", version=7, metadata={"new": "2"}, priority=9,
                at=now, expires_at=now + timedelta(seconds=5))  # fmt: skip

    answers = await store.push(other)
    record = await store.read(one.id)
    lease = await store.lease()

    equal(answers, [Pushed(one.id, Status.READY, replaced=True)], "the answer")
    equal(await store.storage.get(other.id), None, "what is stored under the id of the second")
    found = (record.name, record.payload, record.codec, record.version, dict(record.metadata))
    equal(found, ("b", b"new", "own", 7, {"new": "2"}), "name, payload, codec, version, metadata")
    equal((record.priority, record.due_at), (9, now), "priority and due_at")
    equal(record.created_at, now - timedelta(seconds=5), "created_at")
    equal((lease.id, lease.name, lease.payload), (one.id, "b", b"new"), "what is claimed")
    equal((lease.attempt, lease.fence.epoch, lease.max_attempts), (1, 1, 3), "its run")
    equal(await holder(store), one.id, "who holds the key")


@rule_of(Dedups)
async def a_replaced_task_is_due_as_the_new_one_says(store: Store) -> None:
    """Earlier than before, or later: it moves between ready and scheduled."""
    one = keyed(delay=60.0)
    await store.push(one)
    await store.push(new())
    equal((await store.read(one.id)).status, Status.READY, "the state when it is due at once")

    await store.push(new(delay=30.0))
    record = await store.read(one.id)
    due = store.clock.now + timedelta(seconds=30)
    equal((record.status, record.due_at), (Status.SCHEDULED, due), "state and due_at")
    leases, _, next_due_in = await store.claimed()
    equal((list(leases), next_due_in), ([], 30.0), "what is claimed before, and next_due_in")

    await store.push(new(payload=b"last", delay=5.0))
    await store.clock.advance(5)
    equal((await store.lease()).payload, b"last", "the payload of its run")
    await store.clock.advance(60)
    equal(len(await store.claim()), 0, "the number of tasks claimed while it runs")


@rule_of(Dedups)
async def a_replaced_task_expires_as_the_new_one_says(store: Store) -> None:
    """Later than before, earlier, or never."""
    now = store.clock.now
    first, second = keyed(expires_at=now + timedelta(seconds=5)), keyed(dedup=Dedup("other"))
    await store.push(first, second)
    sooner = keyed(dedup=Dedup("other", OnConflict.REPLACE), expires_at=now + timedelta(seconds=5))
    await store.push(new(), sooner)
    await store.clock.advance(5)
    await store.storage.prune(10)

    records = await store.read_all(first.id, second.id)

    equal([one.status for one in records], [Status.READY, Status.DEAD], "the states")


@rule_of(Dedups)
async def a_replaced_task_stands_by_its_new_rank(store: Store) -> None:
    """A new priority counts at once, whatever it was before; so does a new name."""
    low, middle = keyed(priority=9), keyed(dedup=Dedup("other"), priority=5)
    await store.push(low, middle)

    await store.push(new(priority=1))
    first = await store.claim(most=1)
    await store.push(new(name="b"))
    second = await store.claim(names="a")
    third = await store.claim(names="b")

    equal([one.id for one in first], [middle.id], "what is claimed first")
    equal([one.id for one in second], [], "what is claimed by the old name")
    equal([(one.id, one.name) for one in third], [(low.id, "b")], "what is claimed by the new name")


@rule_of(Dedups)
async def a_retried_task_may_be_replaced(store: Store) -> None:
    """Its runs, losses and errors stay charged to it."""
    lease = await store.running(dedup=KEEP, max_lost=9)
    await store.settle(ends(lease, ENDINGS["retry"]))

    answers = await store.push(new())
    record = await store.read(lease.id)
    again = await store.lease(LOST)

    equal(answers, [Pushed(lease.id, Status.READY, replaced=True)], "the answer")
    equal((record.attempt, list(record.errors)), (1, [FAILURE]), "attempt and errors")
    found = (again.attempt, again.fence.epoch, again.payload)
    equal(found, (2, 2, b"new"), "attempt, epoch and payload of the next run")


@rule_of(Dedups)
async def a_running_task_is_not_replaced(store: Store) -> None:
    """It is as it was, and goes on; nothing of the push is stored."""
    lease = await store.running(dedup=KEEP)
    before = await store.read(lease.id)
    other = new()

    answers = await store.push(other)

    equal(answers, [Pushed(lease.id, Status.RUNNING)], "the answer")
    equal(await store.storage.get(other.id), None, "what is stored of the push")
    unchanged(before, await store.read(lease.id), "a push that would replace it")
    equal(await store.renew(Renew(lease.fence, 1)), ["ok"], "the answer to a renewal")
    equal(await store.release(Release(lease.fence, 0.0, 1)), ["applied ready"], "to a release")
    equal((await store.lease()).payload, b"1", "the payload of its next run")


@rule_of(Dedups)
async def an_ended_task_is_not_replaced(store: Store) -> None:
    """Within its window it holds the key, and that is all; after it the push stores a task."""
    lease = await store.running(dedup=KEEP._replace(window=5.0))
    await store.settle(done(lease))
    before = await store.read(lease.id)
    other = new()

    within = await store.push(other)
    await store.clock.advance(5)
    after = await store.push(other)

    equal(within, [Pushed(lease.id, Status.DONE)], "the answer within the window")
    equal(after, [Pushed(other.id)], "the answer after it")
    unchanged(before, await store.read(lease.id), "a push that would replace it")


@rule_of(Dedups)
async def a_replacement_begins_a_window_of_its_own(store: Store) -> None:
    """It is a push as any; the window of the push before is over."""
    one = keyed(dedup=KEEP._replace(window=5.0))
    await store.push(one)
    await store.clock.advance(4)
    await store.push(keyed(dedup=REPLACE._replace(window=5.0)))
    await store.settle(done(await store.lease()))
    await store.clock.advance(4.5)
    late = await holder(store)
    await store.clock.advance(0.5)

    equal(late, one.id, "who holds the key within the second window")
    equal(await holder(store), None, "who holds it after that")


@rule_of(Dedups)
async def the_last_of_many_replacements_counts(store: Store) -> None:
    """One after the other, in one call or several."""
    one = keyed()
    answers = await store.push(one, new(payload=b"2"), new(payload=b"3"))
    await store.push(new(payload=b"4"))
    lease = await store.lease()

    wanted = Pushed(one.id, Status.READY, replaced=True)
    equal(answers, [Pushed(one.id), wanted, wanted], "the answers")
    equal((lease.id, lease.payload), (one.id, b"4"), "what is claimed")
    equal(len(await store.claim()), 0, "the number of other tasks claimed")


@rule_of(Dedups)
async def a_replacement_and_a_claim_at_once_both_count(store: Store) -> None:
    """The task runs with the new arguments, or ran before and keeps the old ones."""
    for _ in range(10):
        await store.push(keyed(payload=b"old"))
        leases: list[Lease] = []
        answers: list[Pushed] = []

        async def claim(leases: list[Lease]) -> None:
            leases += await store.claim()

        async def replace(answers: list[Pushed]) -> None:
            answers += await store.push(new())

        await at_once(partial(claim, leases), partial(replace, answers))

        await claim(leases)
        equal(len(leases), 1, "the number of tasks claimed")
        payload = b"new" if answers[0].replaced else b"old"
        equal(leases[0].payload, payload, f"the payload of a run when a push got {answers[0]}")
        await store.settle(done(leases[0]))
