"""Rules of cancel: what does not run ends at once, what runs is asked to stop."""

from __future__ import annotations

from functools import partial

import anyio
from typing_extensions import Unpack

from layered.backend import Cancels, Change, Claimant, Reaped, Record, Release, Renew
from layered.task import Lease, Status, new_id
from layered.testing.conformance.backend.race import at_once
from layered.testing.conformance.backend.store import (
    ENDINGS,
    FAILURE,
    LOST,
    ME,
    Fields,
    Store,
    done,
    draft,
    ends,
    unchanged,
)
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal, true


async def cancel(store: Store, *ids: str) -> list[Change]:
    """Cancel tasks, in one call."""
    return list(await store.control.cancel(ids))


async def asked(store: Store, claimant: Claimant = ME, **fields: Unpack[Fields]) -> Lease:
    """Push and claim a task, and ask its run to stop."""
    lease = await store.running(claimant, **fields)
    answer = await cancel(store, lease.id)
    equal(answer, [Change(lease.id, Status.RUNNING, changed=True)], "the answer to the cancel")
    return lease


@rule_of(Cancels)
async def what_does_not_run_is_cancelled_at_once(store: Store) -> None:
    """A scheduled, a ready and a retried task end, and are never claimed."""
    retried = await store.running()
    await store.settle(ends(retried, ENDINGS["retry"]))
    ready, scheduled = draft(), draft(delay=5.0)
    await store.push(ready, scheduled)
    ids = [retried.id, ready.id, scheduled.id]

    changes = await cancel(store, *ids)
    records = await store.read_all(*ids)
    await store.clock.advance(60)

    equal(changes, [Change(one, Status.CANCELLED, changed=True) for one in ids], "the answers")
    found = {(one.status, one.finished_at) for one in records}
    equal(found, {(Status.CANCELLED, records[0].created_at)}, "the states and ends")
    equal([len(one.errors) for one in records], [1, 0, 0], "the numbers of errors")
    equal(len(await store.claim()), 0, "the number of tasks claimed afterwards")


@rule_of(Cancels)
async def what_runs_is_asked_to_stop_by_its_renewal(store: Store) -> None:
    """The run goes on, its renewals answer `CANCEL`, and it ends when its worker says so."""
    lease = await asked(store)

    record = await store.read(lease.id)
    answers = [await store.renew(Renew(lease.fence, attempt)) for attempt in (1, 2)]
    ended = await store.settle(ends(lease, ENDINGS["cancelled"]))

    found = (record.status, record.cancel_requested, record.finished_at)
    equal(found, (Status.RUNNING, True, None), "state, request and end before it stopped")
    equal(answers, [["cancel"], ["cancel"]], "the answers to renewals")
    equal((await store.read(lease.id)).attempt, 2, "the attempts")
    equal(ended, ["applied cancelled"], "the answer to its end")


@rule_of(Cancels)
async def other_runs_are_not_asked_to_stop(store: Store) -> None:
    """In one batch of renewals each is answered for itself."""
    await store.push(draft(), draft(), draft())
    leases = await store.claim()

    await cancel(store, leases[1].id)
    answers = await store.renew(*(Renew(lease.fence, 1) for lease in leases))

    equal(answers, ["ok", "cancel", "ok"], "the answers to renewals")
    records = await store.read_all(*(lease.id for lease in leases))
    equal([one.cancel_requested for one in records], [False, True, False], "who is asked")


@rule_of(Cancels)
async def a_run_that_is_done_first_stays_done(store: Store) -> None:
    """A cancel never undoes what was done, nor takes its result."""
    lease = await asked(store)

    answer = await store.settle(done(lease, b"7"))
    record = await store.read(lease.id)

    equal(answer, ["applied done"], "the answer to the settle")
    equal((record.status, record.result), (Status.DONE, b"7"), "state and result")


@rule_of(Cancels)
async def a_run_that_fails_for_good_first_is_dead(store: Store) -> None:
    """So is one that may not be retried: somebody wants to know of it."""
    dead, last = await asked(store), await asked(store, max_attempts=1)

    answers = await store.settle(ends(dead, ENDINGS["dead"]), ends(last, ENDINGS["retry"]))

    equal(answers, ["applied dead", "applied dead"], "the answers to the settles")


@rule_of(Cancels)
async def a_cancelled_run_that_fails_is_not_run_again(store: Store) -> None:
    """It is cancelled where it would be retried, and its error kept."""
    lease = await asked(store)

    answers = [await store.settle(ends(lease, ENDINGS["retry"])) for _ in range(2)]
    record = await store.read(lease.id)
    await store.clock.advance(60)

    equal(answers, [["applied cancelled"], ["already cancelled"]], "the answers, twice the same")
    found = (record.status, list(record.errors), record.finished_at)
    equal(found, (Status.CANCELLED, [FAILURE], record.created_at), "state, errors and end")
    equal(len(await store.claim()), 0, "the number of tasks claimed afterwards")


@rule_of(Cancels)
async def a_cancelled_run_that_is_released_is_not_run_again(store: Store) -> None:
    """Whether it was given back at once or with a delay."""
    for delay in (0.0, 5.0):
        lease = await asked(store)

        answers = [await store.release(Release(lease.fence, delay, 1)) for _ in range(2)]
        record = await store.read(lease.id)
        await store.clock.advance(60)

        equal(
            answers, [["applied cancelled"], ["already cancelled"]], "the answers, twice the same"
        )
        found = (record.status, record.finished_at)
        equal(found, (Status.CANCELLED, record.created_at), "state and end")
        equal(len(await store.claim()), 0, "the number of tasks claimed afterwards")


@rule_of(Cancels)
async def a_cancelled_run_that_is_lost_is_not_run_again(store: Store) -> None:
    """It is cancelled when its lease is over, also one that may not be lost again."""
    leases = [await asked(store, LOST), await asked(store, LOST, max_lost=1)]

    reaped = await store.reap()
    records = await store.read_all(*(lease.id for lease in leases))

    wanted = [Reaped(lease.id, "a", Status.CANCELLED) for lease in leases]
    equal(sorted(reaped), sorted(wanted), "what was reaped")
    equal([one.status for one in records], [Status.CANCELLED] * 2, "the states")
    true(all(one.finished_at for one in records), "a cancelled task has an end")
    equal(await store.settle(done(leases[0])), ["stale"], "the answer to a late settle")


@rule_of(Cancels)
async def what_has_ended_is_not_cancelled(store: Store) -> None:
    """However it ended it is left as it is, and the answer says how that is."""
    for name, ending in ENDINGS.items():
        if name == "retry":
            continue
        lease = await store.running()
        await store.settle(ends(lease, ending))
        before = await store.read(lease.id)
        await store.clock.advance(1)

        changes = await cancel(store, lease.id)

        wanted = Change(lease.id, Status[name.upper()], changed=False)
        equal(changes, [wanted], f"the answer for a task that is {name}")
        unchanged(before, await store.read(lease.id), "a cancel")


@rule_of(Cancels)
async def a_cancel_may_be_repeated(store: Store) -> None:
    """The second changes nothing, and says so."""
    lease, ready = await asked(store), draft()
    await store.push(ready)
    await cancel(store, ready.id)
    before = await store.read_all(lease.id, ready.id)
    await store.clock.advance(1)

    changes = await cancel(store, lease.id, ready.id)

    running = Change(lease.id, Status.RUNNING, changed=False)
    cancelled = Change(ready.id, Status.CANCELLED, changed=False)
    equal(changes, [running, cancelled], "the answers to the second cancel")
    for was, now in zip(before, await store.read_all(lease.id, ready.id), strict=True):
        unchanged(was, now, "the second cancel")


@rule_of(Cancels)
async def cancels_are_answered_in_order(store: Store) -> None:
    """One answer per id, also for ids that are not there, and those given twice."""
    lease, ready, other = await store.running(), draft(), draft()
    await store.push(ready, other)
    missing = new_id()

    changes = await cancel(store, ready.id, missing, lease.id, ready.id)

    wanted = [(ready.id, Status.CANCELLED), (missing, None), (lease.id, Status.RUNNING)]
    equal([one[:2] for one in changes], [*wanted, wanted[0]], "the ids and states answered")
    equal(changes[1], Change(missing, None, changed=False), "the answer for one that is missing")
    equal((await store.read(other.id)).status, Status.READY, "the state of another task")
    equal(await cancel(store), [], "the answer for no ids")


@rule_of(Cancels)
async def many_tasks_are_cancelled_in_one_call(store: Store) -> None:
    """Those that wait and those that run, in any order."""
    drafts = [draft() for _ in range(300)]
    await store.push(*drafts)
    running = {lease.id for lease in await store.claim(most=150)}
    ids = [one.id for one in drafts][::-1]

    changes = await cancel(store, *ids)
    records = await store.read_all(*ids)

    states = [Status.RUNNING if one in running else Status.CANCELLED for one in ids]
    equal([one.status for one in changes], states, "the states answered")
    equal([one.status for one in records], states, "the states")
    equal({one.cancel_requested for one in records if one.id in running}, {True}, "the requests")


@rule_of(Cancels)
async def a_cancel_ends_a_wait(store: Store) -> None:
    """Who waits for the task is told, without waiting for the next look."""
    one = draft()
    await store.push(one)
    heard: list[None] = []
    found: list[Record] = []

    async def wait() -> None:
        found.extend(await store.storage.wait_for([one.id]))

    with store.storage.ended.listening(lambda: heard.append(None)):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await cancel(store, one.id)

    true(heard, "a listener of `ended` hears of a cancel")
    equal([each.status for each in found], [Status.CANCELLED], "the state that was waited for")


@rule_of(Cancels)
async def a_task_is_cancelled_by_one_of_many(store: Store) -> None:
    """Of cancels at the same time one says that it changed the task."""
    one = draft()
    await store.push(one)

    answers = await at_once(*[partial(cancel, store, one.id)] * 10)

    equal({change.status for (change,) in answers}, {Status.CANCELLED}, "the states answered")
    equal(sum(change.changed for (change,) in answers), 1, "the number that changed it")


@rule_of(Cancels)
async def a_cancel_and_a_claim_at_once_both_count(store: Store) -> None:
    """The task is cancelled before it runs, or claimed and asked to stop."""
    for _ in range(10):
        one = draft()
        await store.push(one)

        await at_once(partial(cancel, store, one.id), store.claim)

        record = await store.read(one.id)
        fates = [(Status.CANCELLED, False), (Status.RUNNING, True)]
        fate = (record.status, record.cancel_requested)
        true(fate in fates, f"a task is cancelled or asked to stop, and not as {fate}")
