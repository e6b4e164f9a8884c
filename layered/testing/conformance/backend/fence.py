"""Rules of the fence: who may write, and what is answered to those who may not."""

from __future__ import annotations

from layered.backend import ALREADY, APPLIED, STALE, Done, Renewal, Retry, Settle
from layered.task import Fence, Lease, Status, new_id
from layered.testing.conformance.backend.store import ENDINGS, FAILURE, LOST, Store, done, unchanged
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal


async def refused(store: Store, lease: Lease, fence: Fence, what: str) -> None:
    """Fail unless every write under *fence* is stale and changes nothing."""
    before = await store.read(fence.id)

    for ending in ENDINGS:
        equal(await store.settle(fence, ending, 9), STALE, f"the answer to {ending} {what}")
    equal(await store.release(fence, attempt=9), STALE, f"the answer to a release {what}")
    renewal = await store.renew(lease._replace(fence=fence, attempt=9))
    equal(renewal, Renewal.STALE, f"the answer to a renewal {what}")

    unchanged(before, await store.read(fence.id), f"writes {what}")


@rule()
async def a_write_with_another_epoch_is_refused(store: Store) -> None:
    """A fence of an earlier or later claim changes nothing of a running task."""
    lease = await store.running()

    for epoch in (lease.fence.epoch - 1, lease.fence.epoch + 1):
        await refused(store, lease, lease.fence._replace(epoch=epoch), "with another epoch")


@rule()
async def a_write_with_another_claim_id_is_refused(store: Store) -> None:
    """The same epoch is not enough: a store that lost its last commits issues it twice."""
    lease = await store.running()

    await refused(store, lease, lease.fence._replace(claim_id=bytes(16)), "with another claim id")


@rule()
async def a_write_to_an_ended_task_is_refused(store: Store) -> None:
    """Done is never left, whoever asks and with whatever fence."""
    lease = await store.running()
    await store.settle_all(done(lease, b"7"))

    await refused(store, lease, lease.fence._replace(claim_id=bytes(16)), "to an ended task")
    answers = await store.settle_all(*(Settle(lease.fence, each, 9) for each in ENDINGS[1:]))

    equal(answers, [STALE] * 3, "the answers to other endings of the same run")
    equal((await store.read(lease.id)).result, b"7", "the result")


@rule()
async def nothing_follows_an_ending(store: Store) -> None:
    """A run ends once: its own fence is worth nothing for another ending, release or renewal."""
    for first in ENDINGS:
        lease = await store.running()
        await store.settle(lease.fence, first)
        before = await store.read(lease.id)

        for other in ENDINGS:
            if other is not first:
                answer = await store.settle(lease.fence, other, 9)
                equal(answer, STALE, f"the answer to {other} after {first}")
        released = await store.release(lease.fence, attempt=9)
        equal(released, STALE, f"the answer to a release after {first}")
        renewal = await store.renew(lease)
        equal(renewal, Renewal.STALE, f"the answer to a renewal after {first}")

        unchanged(before, await store.read(lease.id), f"writes after {first}")


@rule()
async def a_write_after_the_next_claim_is_refused(store: Store) -> None:
    """A worker that was taken for lost cannot touch the run of the next one."""
    lost = await store.running(LOST)
    await store.reap()
    await store.clock.advance(60)
    await store.lease()

    await refused(store, lost, lost.fence, "after the next claim")


@rule()
async def a_write_to_a_missing_task_is_refused(store: Store) -> None:
    """A task that is not there is stale, and no error."""
    lease = await store.running()
    missing = lease._replace(fence=lease.fence._replace(id=new_id()))

    equal(await store.settle(missing.fence, Done(None)), STALE, "the answer to a settle")
    equal(await store.release(missing.fence), STALE, "the answer to a release")
    equal(await store.renew(missing), Renewal.STALE, "the answer to a renewal")


@rule()
async def a_reaped_run_is_stale(store: Store) -> None:
    """What a lost worker says later is refused, before and after the next claim."""
    lease = await store.running(LOST)
    await store.reap()

    await refused(store, lease, lease.fence, "after the reap")


@rule()
async def the_same_settle_again_is_known(store: Store) -> None:
    """After an unknown outcome a worker repeats its settle: it is applied once."""
    for ending in ENDINGS:
        lease = await store.running()
        first = await store.settle(lease.fence, ending)
        before = await store.read(lease.id)

        again = await store.settle(lease.fence, ending)

        equal(again, ALREADY[first.status or Status.WAITING], f"the answer to a second {ending}")
        unchanged(before, await store.read(lease.id), f"a second {ending}")


@rule()
async def another_ending_after_a_settle_is_stale(store: Store) -> None:
    """Only the same operation of the same claim counts as applied before."""
    lease = await store.running()
    retry = Settle(lease.fence, Retry(FAILURE, 0.0), 1)
    await store.settle_all(retry)
    newer = await store.lease()

    answers = await store.settle_all(done(lease), retry)

    equal(answers, [STALE, ALREADY[Status.RUNNING]], "the answers to the first run's endings")
    answers = await store.settle_all(done(newer))
    equal(answers, [APPLIED[Status.DONE]], "the answer to the second run's ending")


@rule()
async def the_same_release_again_is_known(store: Store) -> None:
    """A repeated release is answered, and applied once; a settle after it is stale."""
    lease = await store.running()
    await store.release(lease.fence)

    again = await store.release(lease.fence)

    equal(again, ALREADY[Status.READY], "the answer to the second release")
    equal(await store.settle_all(done(lease)), [STALE], "the answer to a settle after a release")
    equal((await store.read(lease.id)).attempt, 0, "the attempts")
