"""Rules of renew and reap: what becomes of leases."""

from __future__ import annotations

from datetime import timedelta

from layered.backend import Claimant, Reaped, Renew
from layered.task import Status
from layered.testing.conformance.backend.store import LOST, ME, Store, done, draft
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
async def a_live_lease_is_not_reaped(store: Store) -> None:
    """A task whose worker has not been silent for a lease stays with it."""
    lease = await store.running()

    equal(await store.reap(), [], "what was reaped")
    equal((await store.read(lease.id)).status, Status.RUNNING, "the state")


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
async def an_overdue_lease_holds_until_it_is_reaped(store: Store) -> None:
    """The fence alone decides: a late renewal or settle is as good as any."""
    lease = await store.running(LOST)

    equal(await store.renew(Renew(lease.fence, 1)), ["ok"], "the answer to a late renewal")
    equal(await store.reap(), [], "what was reaped after it")
    equal(await store.settle(done(lease)), ["applied done"], "the answer to a settle")


@rule()
async def a_late_settle_is_as_good_as_any(store: Store) -> None:
    """A run whose lease is over, and was not reaped, may be settled."""
    lease = await store.running(LOST)

    equal(await store.settle(done(lease)), ["applied done"], "the answer to the settle")
    equal(await store.reap(), [], "what was reaped after it")


@rule()
async def a_renewal_never_shortens_a_lease(store: Store) -> None:
    """A renewal for less than what is left leaves the lease as it is."""
    lease = await store.running()

    equal(
        await store.renew(Renew(lease.fence, 1), seconds=0.0), ["ok"], "the answer to the renewal"
    )
    equal(await store.reap(), [], "what was reaped after it")


@rule()
async def a_lease_may_be_renewed_for_longer(store: Store) -> None:
    """A renewal for more than the first lease is not taken for a lease from before a reboot."""
    lease = await store.running(Claimant("default", "me", lease=1.0))

    equal(
        await store.renew(Renew(lease.fence, 1), seconds=1000.0),
        ["ok"],
        "the answer to the renewal",
    )
    equal(await store.reap(), [], "what was reaped after it")


@rule()
async def a_run_past_its_limit_is_not_renewed(store: Store) -> None:
    """However lively its worker, a run ends at its claimant's `max_run`."""
    over = await store.running(Claimant("default", "me", lease=0.0, max_run=-1.0))
    within = await store.running(Claimant("default", "me", max_run=1000.0), name="b")

    equal(await store.renew(Renew(over.fence, 1)), ["stale"], "the answer past max_run")
    equal(await store.renew(Renew(within.fence, 1)), ["ok"], "the answer within max_run")
    equal([each.id for each in await store.reap()], [over.id], "what was reaped")


@rule()
async def renewals_are_answered_in_order(store: Store) -> None:
    """One answer per item, also for stale ones in between and items sent twice."""
    await store.push(draft(), draft(), draft())
    one, two, three = await store.claim()
    await store.settle(done(two))

    items = [Renew(each.fence, 1) for each in (three, two, one, three)]
    answers = await store.renew(*items)

    equal(answers, ["ok", "stale", "ok", "ok"], "the answers")


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
