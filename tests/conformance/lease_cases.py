"""Cases of renew and reap."""

from datetime import UTC, datetime, timedelta
from typing import Any

from layered.backend import APPLIED, STALE, Claimant, Reaped, Renew, Renewal, Storage
from layered.task import Lease, Status
from tests.conformance.harness import (
    LOST,
    START,
    Clock,
    case,
    claim,
    claim_one,
    done,
    draft,
    read,
    running,
)

NOW = datetime.fromtimestamp(START, UTC)


async def renew(storage: Storage[Any], lease: Lease, seconds: float = 30.0) -> Renewal:
    """Renew one lease."""
    (renewal,) = await storage.renew([Renew(lease.fence, lease.attempt)], seconds)
    return renewal


async def lose(storage: Storage[Any], clock: Clock) -> Reaped:
    """Claim the one task, lose it, and move the clock on to where it is due again."""
    await claim_one(storage, LOST)
    (reaped,) = await storage.reap(10)
    clock.at += 60
    return reaped


@case()
async def a_live_lease_is_not_reaped(storage: Storage[Any], clock: Clock) -> None:
    """A task whose worker has not been silent for a lease stays with it."""
    lease = await running(storage)

    assert list(await storage.reap(10)) == []
    assert (await read(storage, lease.id)).status is Status.RUNNING


@case()
async def a_step_of_the_wall_clock_ends_no_lease(storage: Storage[Any], clock: Clock) -> None:
    """Leases are measured by a clock that nobody sets."""
    await running(storage)
    clock.at += 1e6

    assert list(await storage.reap(10)) == []


@case()
async def a_lost_task_comes_back(storage: Storage[Any], clock: Clock) -> None:
    """A task whose worker is lost is retried soon, and keeps who lost it."""
    lease = await running(storage, LOST, payload=b"input")

    reaped = await storage.reap(10)
    record = await read(storage, lease.id)
    clock.at += 60
    again = await claim_one(storage)

    assert list(reaped) == [Reaped(lease.id, "a", Status.RETRY)]
    assert (record.status, record.lost, record.payload) == (Status.RETRY, 1, b"input")
    assert NOW <= record.due_at <= NOW + timedelta(seconds=30)
    assert [failure.type for failure in record.errors] == ["worker_lost"]
    assert "lost" in record.errors[0].message
    assert (again.attempt, again.lost, again.fence.epoch) == (2, 1, 2)


@case()
async def a_reaped_run_is_stale(storage: Storage[Any], clock: Clock) -> None:
    """What a lost worker says later is refused, before and after the next claim."""
    lease = await running(storage, LOST)
    await storage.reap(10)

    assert list(await storage.settle([done(lease)])) == [STALE]
    assert await renew(storage, lease) is Renewal.STALE
    assert (await read(storage, lease.id)).status is Status.RETRY


@case()
async def an_overdue_lease_holds_until_it_is_reaped(storage: Storage[Any], clock: Clock) -> None:
    """The fence alone decides: a late renewal or settle is as good as any."""
    lease = await running(storage, LOST)

    assert await renew(storage, lease) is Renewal.OK
    assert list(await storage.reap(10)) == []
    assert list(await storage.settle([done(lease)])) == [APPLIED[Status.DONE]]


@case()
async def a_renewal_never_shortens_a_lease(storage: Storage[Any], clock: Clock) -> None:
    """A renewal for less than what is left leaves the lease as it is."""
    lease = await running(storage)

    assert await renew(storage, lease, 0.0) is Renewal.OK
    assert list(await storage.reap(10)) == []


@case()
async def a_lease_may_be_renewed_for_longer(storage: Storage[Any], clock: Clock) -> None:
    """A renewal for more than the first lease is not taken for a lease from before a reboot."""
    lease = await running(storage, Claimant("default", "me", lease=1.0))

    assert await renew(storage, lease, 1000.0) is Renewal.OK
    assert list(await storage.reap(10)) == []


@case()
async def a_run_past_its_limit_is_not_renewed(storage: Storage[Any], clock: Clock) -> None:
    """However lively its worker, a run ends at its claimant's `max_run`."""
    over = await running(storage, Claimant("default", "me", lease=0.0, max_run=-1.0))
    within = await running(storage, Claimant("default", "me", max_run=1000.0), name="b")

    assert await renew(storage, over) is Renewal.STALE
    assert await renew(storage, within) is Renewal.OK
    assert [each.id for each in await storage.reap(10)] == [over.id]


@case()
async def renewals_are_answered_in_order(storage: Storage[Any], clock: Clock) -> None:
    """One answer per item, also for stale ones in between and items sent twice."""
    await storage.insert([draft() for _ in range(3)])
    one, two, three = (await claim(storage)).leases
    await storage.settle([done(two)])

    items = [Renew(each.fence, 1) for each in (three, two, one, three)]

    assert list(await storage.renew(items, 30.0)) == [
        Renewal.OK, Renewal.STALE, Renewal.OK, Renewal.OK,
    ]  # fmt: skip


@case()
async def a_task_that_loses_its_workers_is_dead(storage: Storage[Any], clock: Clock) -> None:
    """At `max_lost` lost workers a task is dead, with payload and the last worker's name."""
    one = draft(payload=b"poison", max_lost=2)
    await storage.insert([one])

    first = await lose(storage, clock)
    second = await lose(storage, clock)
    record = await read(storage, one.id)

    assert [first.status, second.status] == [Status.RETRY, Status.DEAD]
    assert (record.status, record.payload, record.lost) == (Status.DEAD, b"poison", 2)
    assert [failure.type for failure in record.errors] == ["worker_lost", "worker_lost"]
    assert record.finished_at is not None
    assert list((await claim(storage)).leases) == []


@case()
async def a_lost_run_counts_for_max_attempts(storage: Storage[Any], clock: Clock) -> None:
    """A task that may run once is dead when its worker is lost."""
    await storage.insert([draft(max_attempts=1)])

    assert (await lose(storage, clock)).status is Status.DEAD


@case()
async def reaping_goes_on_where_it_stopped(storage: Storage[Any], clock: Clock) -> None:
    """No more than the limit at a time, and none is left out or taken twice."""
    await storage.insert([draft() for _ in range(7)])
    leases = (await claim(storage, LOST)).leases

    turns = [await storage.reap(3) for _ in range(4)]

    assert [len(turn) for turn in turns] == [3, 3, 1, 0]
    assert {each.id for turn in turns for each in turn} == {lease.id for lease in leases}


@case()
async def tasks_that_are_lost_do_not_hide_others(storage: Storage[Any], clock: Clock) -> None:
    """Running tasks with live leases never stand before overdue ones."""
    await storage.insert([draft() for _ in range(20)])
    await claim(storage, Claimant("default", "alive"), 19)
    lost = await claim_one(storage, LOST)

    assert [each.id for each in await storage.reap(1)] == [lost.id]
