"""Rules of callers that go away in the middle: what they began is done wholly or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.lowlevel import checkpoint

from layered.backend import Cancels, Pushed, Release, Renew, Requeues
from layered.task import Status
from layered.testing.conformance.backend.store import ENDINGS, LOST, Store, done, draft, ends
from layered.testing.conformance.backend.suite import rule, rule_of
from layered.testing.conformance.rule import equal, true

TURNS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 1024, 4096)
"""Turns of the event loop after which a caller goes away."""


async def goes_away(call: Callable[[], Awaitable[object]], turns: int) -> bool:
    """Cancel a call after some turns of the event loop; tell whether it had ended by then."""
    ended = False

    async def run() -> None:
        nonlocal ended
        await call()
        ended = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for _ in range(turns):
            await checkpoint()
        tasks.cancel_scope.cancel()
    return ended


async def states(store: Store, ids: Sequence[str]) -> set[str]:
    """Answer the states of tasks."""
    return {record.status.label for record in await store.read_all(*ids)}


async def attempts(call: Callable[[int], Awaitable[bool]]) -> None:
    """Go through `TURNS` until a call has ended before its caller went away."""
    for turns in TURNS:
        if await call(turns):
            return


@rule()
async def a_push_whose_caller_goes_away_is_stored_wholly_or_not(store: Store) -> None:
    """Pushing the same again stores what is missing: all, or nothing."""

    async def go_away(turns: int) -> bool:
        drafts = [draft() for _ in range(3)]
        ids = [one.id for one in drafts]
        ended = await goes_away(lambda: store.push(*drafts), turns)

        stored = [record is not None for record in await store.storage.fetch(ids)]
        equal(len(set(stored)), 1, f"the number of fates of a push left after {turns} turns")
        again = await store.push(*drafts)
        known = Status.READY if stored[0] else None
        equal(again, [Pushed(one, known) for one in ids], "the answer to the same push again")
        equal(len(await store.claim()), 3, "the number of tasks claimed")
        return ended

    await attempts(go_away)


@rule()
async def a_claim_whose_caller_goes_away_loses_no_task(store: Store) -> None:
    """The tasks run, and are reaped when their leases end; or they are as they were."""

    async def go_away(turns: int) -> bool:
        drafts = [draft(max_lost=99) for _ in range(3)]
        ids = [one.id for one in drafts]
        await store.push(*drafts)
        ended = await goes_away(lambda: store.claim(LOST), turns)

        fates = {(one.status, one.epoch, one.attempt) for one in await store.read_all(*ids)}
        whole: list[object] = [{(Status.READY, 0, 0)}, {(Status.RUNNING, 1, 1)}]
        true(fates in whole, f"tasks are claimed wholly or not, as {fates}")
        await store.reap()
        await store.clock.advance(60)
        leases = await store.claim()
        equal({lease.id for lease in leases}, set(ids), "what can be claimed afterwards")
        await store.settle(*(done(lease) for lease in leases))
        return ended

    await attempts(go_away)


@rule()
async def a_settle_whose_caller_goes_away_is_applied_wholly_or_not(store: Store) -> None:
    """The same settle again is applied, or known: nothing is lost, nothing done twice."""

    async def go_away(turns: int) -> bool:
        await store.push(*(draft() for _ in range(3)))
        leases = await store.claim()
        settles = [done(lease, b"result") for lease in leases]
        ended = await goes_away(lambda: store.settle(*settles), turns)

        before = await states(store, [lease.id for lease in leases])
        true(before in ({"running"}, {"done"}), f"runs are settled wholly or not, as {before}")
        again = "applied done" if before == {"running"} else "already done"
        equal(await store.settle(*settles), [again] * 3, "the answers to the same settle again")
        return ended

    await attempts(go_away)


@rule()
async def a_release_whose_caller_goes_away_is_applied_wholly_or_not(store: Store) -> None:
    """The same release again is applied, or known; the run is charged once at most."""

    async def go_away(turns: int) -> bool:
        await store.push(*(draft() for _ in range(3)))
        leases = await store.claim()
        releases = [Release(lease.fence, 0.0, 1) for lease in leases]
        ended = await goes_away(lambda: store.release(*releases), turns)

        before = await states(store, [lease.id for lease in leases])
        true(before in ({"running"}, {"ready"}), f"runs are released wholly or not, as {before}")
        again = "applied ready" if before == {"running"} else "already ready"
        equal(await store.release(*releases), [again] * 3, "the answers to the same release again")
        leases = await store.claim()
        equal([lease.attempt for lease in leases], [1, 1, 1], "the attempts of the next runs")
        await store.settle(*(done(lease) for lease in leases))
        return ended

    await attempts(go_away)


@rule()
async def a_reap_whose_caller_goes_away_charges_once(store: Store) -> None:
    """Each task is reaped or not; what is left is reaped by the next."""

    async def go_away(turns: int) -> bool:
        await store.push(*(draft(max_lost=9) for _ in range(3)))
        ids = [lease.id for lease in await store.claim(LOST)]
        ended = await goes_away(store.reap, turns)

        await store.reap()
        records = await store.read_all(*ids)
        equal([record.lost for record in records], [1] * 3, "the losses")
        await store.clock.advance(60)
        await store.settle(*(done(lease) for lease in await store.claim()))
        return ended

    await attempts(go_away)


@rule_of(Cancels)
async def a_cancel_whose_caller_goes_away_is_done_wholly_or_not(store: Store) -> None:
    """Cancelling the same again cancels what is missing: all, or nothing."""

    async def go_away(turns: int) -> bool:
        ids = [pushed.id for pushed in await store.push(*(draft() for _ in range(3)))]
        ended = await goes_away(lambda: store.control.cancel(ids), turns)

        before = await states(store, ids)
        true(before in ({"ready"}, {"cancelled"}), f"tasks are cancelled wholly or not: {before}")
        again = {(one.status, one.changed) for one in await store.control.cancel(ids)}
        wanted = {(Status.CANCELLED, before == {"ready"})}
        equal(again, wanted, "the answers to the same cancel again")
        return ended

    await attempts(go_away)


@rule_of(Requeues)
async def a_requeue_whose_caller_goes_away_is_done_wholly_or_not(store: Store) -> None:
    """Requeueing the same again requeues what is missing: all, or nothing."""

    async def go_away(turns: int) -> bool:
        ids = [pushed.id for pushed in await store.push(*(draft() for _ in range(3)))]
        await store.settle(*(ends(lease, ENDINGS["dead"]) for lease in await store.claim()))
        ended = await goes_away(lambda: store.control.requeue(ids), turns)

        before = await states(store, ids)
        true(before in ({"dead"}, {"ready"}), f"tasks are requeued wholly or not: {before}")
        again = {(one.status, one.changed) for one in await store.control.requeue(ids)}
        wanted = {(Status.READY, before == {"dead"})}
        equal(again, wanted, "the answers to the same requeue again")
        await store.settle(*(done(lease) for lease in await store.claim()))
        return ended

    await attempts(go_away)


@rule()
async def a_caller_that_goes_away_harms_no_other(store: Store) -> None:
    """Writes of several callers may be committed together; each succeeds or fails by itself."""
    lease = await store.running()
    kept = [draft() for _ in range(5)]

    async def renew() -> None:
        equal(await store.renew(Renew(lease.fence, 1)), ["ok"], "the answer to a renewal beside it")

    for turns in range(8):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.push, *kept)
            tasks.start_soon(goes_away, lambda: store.push(draft(name="c")), turns)
            tasks.start_soon(renew)

    equal(len(await store.claim()), len(kept), "the number of tasks of the other callers")
