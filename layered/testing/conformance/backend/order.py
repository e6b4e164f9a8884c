"""Rules of the order of claims, of promotion, and of expiry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from layered.backend import Release, Retry
from layered.task import Lease, Status
from layered.testing.conformance.backend.store import FAILURE, Store, done, draft, ends
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal, true


def told(leases: Sequence[Lease]) -> Sequence[str]:
    """Name tasks by their payloads."""
    return [lease.payload.decode() for lease in leases]


@rule()
async def claims_are_in_order(store: Store) -> None:
    """Higher priority first, then earlier due, then the smaller id, whatever the name."""
    past = store.clock.now - timedelta(seconds=5)
    low, high = draft(payload=b"low", priority=1), draft(payload=b"high", name="b", priority=9)
    old = draft(payload=b"old", name="b", at=past)
    first, second = draft(payload=b"first"), draft(payload=b"second", name="b")
    await store.push(low, second, high, first, old)

    leases = await store.claim(most=4)

    wanted = ["high", "old", "first", "second"]
    equal(told(leases), wanted, "the order of a claim of 4")
    equal(told(await store.claim()), ["low"], "what the next claim took")


@rule()
async def many_due_tasks_are_promoted_in_turns(store: Store) -> None:
    """A claim promotes no more than it can take of a name; the next ones go on."""
    await store.push(*(draft(delay=float(n)) for n in range(1, 8)))
    await store.clock.advance(100)
    found: list[Lease] = []

    while leases := await store.claim(most=3):
        found.extend(leases)

    dues = [lease.due_at for lease in found]
    equal(dues, sorted(dues), "the due times in the order of the claims")
    equal(len(found), 7, "the number of tasks claimed")


@rule()
async def an_expired_task_is_not_claimed(store: Store) -> None:
    """A claim makes expired tasks dead when it meets them, and takes those behind them."""
    now = store.clock.now
    late = draft(priority=9, expires_at=now + timedelta(seconds=10))
    fine = draft(expires_at=now + timedelta(seconds=60))
    await store.push(late, fine)
    await store.clock.advance(10)

    lease = await store.lease()
    record = await store.read(late.id)

    equal(lease.id, fine.id, "what was claimed")
    row = (record.status, record.epoch, record.payload)
    equal(row, (Status.DEAD, 0, b"1"), "state, epoch and payload of the expired task")
    equal([failure.type for failure in record.errors], ["expired"], "the types of its errors")
    equal(record.finished_at, store.clock.now, "when it ended")


@rule()
async def a_claim_looks_at_a_bounded_number(store: Store) -> None:
    """A claim among expired tasks looks at twice as many as it may take, and says `more`."""
    soon = store.clock.now + timedelta(seconds=1)
    expired = [draft(priority=9, expires_at=soon) for _ in range(7)]
    fine = draft()
    await store.push(*expired, fine)
    await store.clock.advance(5)

    first = await store.claimed(most=2)
    states = [record.status for record in await store.read_all(*(one.id for one in expired))]
    rest = [await store.claim(most=2) for _ in range(4)]

    equal(len(first.leases), 0, "the number that a claim of 2 took behind 7 expired tasks")
    true(first.more, "it says `more`, as it stopped early")
    true(states.count(Status.DEAD) <= 2 * 2, "it looks at no more than 4 tasks")
    claimed = [lease.id for leases in rest for lease in leases]
    equal(claimed, [fine.id], "what the claims after it took")


@rule()
async def a_claim_says_more_while_due_tasks_wait_to_be_promoted(store: Store) -> None:
    """A worker may end when a claim found nothing and there is no more: nothing due is left."""
    expires = store.clock.now + timedelta(seconds=2)
    expired = [draft(delay=1.0, expires_at=expires) for _ in range(5)]
    fine = draft(delay=1.5)
    await store.push(*expired, fine)
    await store.clock.advance(5)

    found: list[str] = []
    for _ in range(20):
        claimed = await store.claimed(most=2)
        found += [lease.id for lease in claimed.leases]
        if not claimed.leases and not claimed.more:
            break

    equal(found, [fine.id], "what was claimed until nothing was left")


@rule()
async def a_promoted_task_stands_by_its_rank(store: Store) -> None:
    """What has become due goes among the ready ones by priority and due time."""
    low = draft(payload=b"low", priority=0, delay=1.0)
    high = draft(payload=b"high", priority=9, delay=3.0)
    early = draft(payload=b"early", at=store.clock.now - timedelta(seconds=1))
    ready, late = draft(payload=b"ready"), draft(payload=b"late", delay=2.0)
    await store.push(low, high, ready, late, early)
    await store.clock.advance(5)

    leases = await store.claim()

    equal(told(leases), ["high", "early", "ready", "late", "low"], "the order of the claim")


@rule()
async def a_retried_task_keeps_its_priority(store: Store) -> None:
    """A task that comes back, from a failure or a release, goes by its priority and due time."""
    await store.push(draft(payload=b"failed", priority=9), draft(payload=b"released", priority=9))
    one, two = await store.claim()
    await store.push(draft(payload=b"other"))
    await store.settle(ends(one, Retry(FAILURE, 1.0)))
    await store.release(Release(two.fence, 0.0, 1))
    await store.clock.advance(5)

    leases = await store.claim()

    equal(told(leases), ["released", "failed", "other"], "the order of the claim")


@rule()
async def an_expired_retry_does_not_run_again(store: Store) -> None:
    """`expires_at` is an end for tasks that come back, too; it keeps their errors."""
    soon = store.clock.now + timedelta(seconds=10)
    failed, released = draft(expires_at=soon), draft(name="b", expires_at=soon)
    await store.push(failed, released)
    one, two = await store.claim()
    await store.settle(ends(one, Retry(FAILURE, 5.0)))
    await store.release(Release(two.fence, 0.0, 1))
    await store.clock.advance(10)

    claimed = await store.claim()
    records = await store.read_all(failed.id, released.id)

    equal(len(claimed), 0, "the number of tasks claimed")
    equal([record.status for record in records], [Status.DEAD] * 2, "the states")
    types = [failure.type for failure in records[0].errors]
    equal(types, [FAILURE.type, "expired"], "the types of the errors of the failed one")


@rule()
async def a_task_expires_at_its_instant(store: Store) -> None:
    """Until then it starts, from then on it does not; one that runs goes on."""
    one, two = (draft(expires_at=store.clock.now + timedelta(seconds=10)) for _ in range(2))
    await store.push(one, two)

    await store.clock.advance(9.75)
    before = await store.claim(most=1)
    await store.clock.advance(0.25)
    after = await store.claim()

    equal([lease.id for lease in before], [one.id], "what was claimed before the instant")
    equal(len(after), 0, "the number of tasks claimed at the instant")
    equal(await store.settle(done(before[0])), ["applied done"], "the answer of the one that ran")
