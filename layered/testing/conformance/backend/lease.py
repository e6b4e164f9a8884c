"""Rules of leases and of renew."""

from __future__ import annotations

import anyio
import anyio.to_thread

from layered.backend import Claimant, Renew
from layered.task import Status
from layered.testing.conformance.backend.store import (
    LOST,
    Store,
    done,
    draft,
    unchanged,
)
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal


@rule()
async def a_live_lease_is_not_reaped(store: Store) -> None:
    """A task whose worker has not been silent for a lease stays with it."""
    lease = await store.running()

    equal(await store.reap(), [], "what was reaped")
    equal((await store.read(lease.id)).status, Status.RUNNING, "the state")


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
async def a_run_past_its_limit_may_still_be_settled(store: Store) -> None:
    """Only renewals are refused then: until it is reaped, the fence alone decides."""
    lease = await store.running(Claimant("default", "me", lease=0.0, max_run=-1.0))

    equal(await store.renew(Renew(lease.fence, 1)), ["stale"], "the answer to a renewal")
    equal(await store.settle(done(lease)), ["applied done"], "the answer to the settle")


@rule()
async def a_refused_renewal_changes_nothing(store: Store) -> None:
    """Neither lease nor attempts: a run past its limit is reaped with what was charged."""
    lease = await store.running(Claimant("default", "me", lease=0.0, max_run=-1.0))
    before = await store.read(lease.id)

    await store.renew(Renew(lease.fence, 9))

    unchanged(before, await store.read(lease.id), "a refused renewal")
    equal([each.id for each in await store.reap()], [lease.id], "what was reaped")


@rule()
async def a_keeper_renews_from_a_thread_of_its_own(store: Store) -> None:
    """What `keeper` gives works in another thread and event loop, beside the storage."""
    storage = store.storage
    if not storage.threaded_keeper:
        return
    lease = await store.running(LOST)
    items = [Renew(lease.fence, 4), Renew(lease.fence._replace(epoch=9), 4)]

    async def keep() -> list[str]:
        async with storage.keeper() as keeper:
            return [answer.value for answer in await keeper.renew(items, 1000.0)]

    answers = await anyio.to_thread.run_sync(anyio.run, keep)

    equal(answers, ["ok", "stale"], "the keeper's answers")
    equal(len(await store.reap()), 0, "the number of tasks reaped after it")
    equal((await store.read(lease.id)).attempt, 4, "the attempt")
    equal(await store.settle(done(lease)), ["applied done"], "the answer to the settle")
