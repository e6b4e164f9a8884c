"""Rules of the fence: who may write, and what is answered to those who may not."""

from __future__ import annotations

from typing import Any

import attrs

from layered.backend import Done, Release, Renew, Retry, Settle, Storage
from layered.task import Fence, Status, new_id
from layered.testing.conformance.backend.store import (
    ENDINGS,
    FAILURE,
    LOST,
    Copies,
    Store,
    done,
    draft,
    unchanged,
)
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal


async def refused(store: Store, fence: Fence, what: str) -> None:
    """Fail unless every write under *fence* is stale and changes nothing."""
    before = await store.read(fence.id)

    for name, ending in ENDINGS.items():
        answers = await store.settle(Settle(fence, ending, 9))
        equal(answers, ["stale"], f"the answer to {name} {what}")
    equal(await store.release(Release(fence, 0.0, 9)), ["stale"], f"the answer to a release {what}")
    equal(await store.renew(Renew(fence, 9)), ["stale"], f"the answer to a renewal {what}")

    unchanged(before, await store.read(fence.id), f"writes {what}")


async def copied(store: Store) -> Storage[Any] | None:
    """Copy the store as it is now; `None` if its maker cannot."""
    make = store.make
    if not isinstance(make, Copies):
        return None
    return await make.copy(store.storage, store.clock, store.storage.limits)


@rule()
async def a_write_with_another_epoch_is_refused(store: Store) -> None:
    """A fence of an earlier or later claim changes nothing of a running task."""
    lease = await store.running()

    for epoch in (lease.fence.epoch - 1, lease.fence.epoch + 1):
        await refused(store, lease.fence._replace(epoch=epoch), "with another epoch")


@rule()
async def a_write_with_another_claim_id_is_refused(store: Store) -> None:
    """The same epoch is not enough: a store that lost its last commits issues it twice."""
    lease = await store.running()

    await refused(store, lease.fence._replace(claim_id=bytes(16)), "with another claim id")


@rule()
async def a_write_to_an_ended_task_is_refused(store: Store) -> None:
    """Done is never left, whoever asks and with whatever fence."""
    lease = await store.running()
    await store.settle(done(lease, b"7"))

    await refused(store, lease.fence._replace(claim_id=bytes(16)), "to an ended task")
    others = [Settle(lease.fence, ending, 9) for ending in [*ENDINGS.values()][1:]]
    answers = await store.settle(*others)

    equal(answers, ["stale"] * 3, "the answers to other endings of the same run")
    equal((await store.read(lease.id)).result, b"7", "the result")


@rule()
async def nothing_follows_an_ending(store: Store) -> None:
    """A run ends once: its own fence is worth nothing for another ending, release or renewal."""
    for first, ending in ENDINGS.items():
        fence = (await store.running()).fence
        await store.settle(Settle(fence, ending, 1))
        before = await store.read(fence.id)

        for name, other in ENDINGS.items():
            if name != first:
                answers = await store.settle(Settle(fence, other, 9))
                equal(answers, ["stale"], f"the answer to {name} after {first}")
        released = await store.release(Release(fence, 0.0, 9))
        equal(released, ["stale"], f"the answer to a release after {first}")
        equal(
            await store.renew(Renew(fence, 9)), ["stale"], f"the answer to a renewal after {first}"
        )

        unchanged(before, await store.read(fence.id), f"writes after {first}")


@rule()
async def a_write_after_the_next_claim_is_refused(store: Store) -> None:
    """A worker that was taken for lost cannot touch the run of the next one."""
    lost = await store.running(LOST)
    await store.reap()
    await store.clock.advance(60)
    await store.lease()

    await refused(store, lost.fence, "after the next claim")


@rule()
async def a_write_to_a_missing_task_is_refused(store: Store) -> None:
    """A task that is not there is stale, and no error."""
    fence = (await store.running()).fence._replace(id=new_id())

    equal(await store.settle(Settle(fence, Done(None), 1)), ["stale"], "the answer to a settle")
    equal(await store.release(Release(fence, 0.0, 1)), ["stale"], "the answer to a release")
    equal(await store.renew(Renew(fence, 1)), ["stale"], "the answer to a renewal")


@rule()
async def a_reaped_run_is_stale(store: Store) -> None:
    """What a lost worker says later is refused, before and after the next claim."""
    lease = await store.running(LOST)
    await store.reap()

    await refused(store, lease.fence, "after the reap")


@rule()
async def the_same_settle_again_is_known(store: Store) -> None:
    """After an unknown outcome a worker repeats its settle: it is applied once."""
    for name, ending in ENDINGS.items():
        settle = Settle((await store.running()).fence, ending, 1)
        first = await store.settle(settle)
        before = await store.read(settle.fence.id)

        # What is sent again may differ: a handler's result is encoded anew.
        repeated = Done(b"other") if isinstance(ending, Done) else ending
        again = await store.settle(settle._replace(ending=repeated))

        equal((first, again), ([f"applied {name}"], [f"already {name}"]), "the answers")
        unchanged(before, await store.read(settle.fence.id), f"a second {name}")


@rule()
async def another_ending_after_a_settle_is_stale(store: Store) -> None:
    """Only the same operation of the same claim counts as applied before."""
    lease = await store.running()
    retry = Settle(lease.fence, Retry(FAILURE, 0.0), 1)
    await store.settle(retry)
    newer = await store.lease()

    answers = await store.settle(done(lease), retry)

    equal(answers, ["stale", "already running"], "the answers to the first run's endings")
    answers = await store.settle(done(newer))
    equal(answers, ["applied done"], "the answer to the second run's ending")


@rule()
async def the_same_release_again_is_known(store: Store) -> None:
    """A repeated release is answered, and applied once; a settle after it is stale."""
    lease = await store.running()
    release = Release(lease.fence, 0.0, 1)
    await store.release(release)

    again = await store.release(release)

    equal(again, ["already ready"], "the answer to the second release")
    equal(await store.settle(done(lease)), ["stale"], "the answer to a settle after a release")
    equal((await store.read(lease.id)).attempt, 0, "the attempts")


@rule()
async def an_earlier_settle_is_stale_once_a_later_run_has_settled(store: Store) -> None:
    """Only the last settle of a task is known as applied; those before it are history."""
    first = Settle((await store.running()).fence, Retry(FAILURE, 0.0), 1)
    await store.settle(first)
    second = Settle((await store.lease()).fence, Retry(FAILURE, 0.0), 2)
    await store.settle(second)

    answers = await store.settle(first, second)

    equal(answers, ["stale", "already retry"], "the answers to both settles again")


@rule()
async def one_stale_release_does_not_abort_a_batch(store: Store) -> None:
    """Each release of a batch is answered for itself, in order."""
    await store.push(*(draft() for _ in range(4)))
    one, two, three, four = [Release(lease.fence, 0.0, 1) for lease in await store.claim()]
    await store.release(three)
    stale = two._replace(fence=two.fence._replace(epoch=7))

    answers = await store.release(four, stale, three, one, one)

    wanted = ["applied ready", "stale", "already ready", "applied ready", "already ready"]
    equal(answers, wanted, "the answers")
    records = await store.read_all(two.fence.id, four.fence.id)
    states = [record.status for record in records]
    equal(states, [Status.RUNNING, Status.READY], "the states of the stale and of the first item")


@rule()
async def a_result_is_never_written_over(store: Store) -> None:
    """The first result stays, whatever a repeated settle brings, alone or in a batch."""
    await store.push(draft(), draft())
    leases = await store.claim()
    await store.settle(*(done(lease, b"first") for lease in leases))

    await store.settle(done(leases[0], b"second"))
    await store.settle(*(done(lease, None) for lease in leases))

    records = await store.read_all(*(lease.id for lease in leases))
    equal([record.result for record in records], [b"first"] * 2, "the results")


@rule()
async def a_store_that_lost_a_claim_refuses_its_run(store: Store) -> None:
    """
    The store forgets a claim, as after a failover, and gives the same epoch again.

    Only the claim id tells the two runs apart; what the first one says is refused.
    """
    await store.push(draft())
    copy = await copied(store)
    if copy is None:
        return
    forgotten = await store.lease()

    async with copy as storage:
        rolled_back = attrs.evolve(store, storage=storage)
        lease = await rolled_back.lease()

        equal(lease.fence.epoch, forgotten.fence.epoch, "the epoch of the second claim")
        await refused(rolled_back, forgotten.fence, "by the run of a claim that the store lost")
        answers = await rolled_back.settle(done(lease))
    equal(answers, ["applied done"], "the answer to the run that the store knows")


@rule()
async def a_store_that_lost_a_settle_takes_it_again(store: Store) -> None:
    """The run is still known there: its settle, sent again, is applied."""
    lease = await store.running()
    copy = await copied(store)
    if copy is None:
        return
    await store.settle(done(lease))

    async with copy as storage:
        answers = await attrs.evolve(store, storage=storage).settle(done(lease))

    equal(answers, ["applied done"], "the answer to the settle that the store lost")
