"""Rules of progress: how far a run says that it has come."""

from __future__ import annotations

from collections.abc import Mapping

from layered.backend import MAX_PROGRESS, Limits, Release, Reports
from layered.task import Fence, new_id
from layered.testing.conformance.backend.store import ENDINGS, LOST, Store, done, ends
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal, true


async def stale_fences(store: Store) -> Mapping[str, Fence]:
    """Make fences that do not hold, or no more; each with what is wrong with it."""
    ended = {name: await store.running() for name in ENDINGS}
    for name, ending in ENDINGS.items():
        await store.settle(ends(ended[name], ending))
    lost = await store.running(LOST)
    await store.reap()
    released = await store.running()
    await store.release(Release(released.fence, 0.0, 1))
    fence = (await store.lease()).fence
    return {
        **{f"a run that ended as {name}": lease.fence for name, lease in ended.items()},
        "a run that was lost": lost.fence,
        "a run before the one that runs": released.fence,
        "another epoch": fence._replace(epoch=fence.epoch + 1),
        "another claim": fence._replace(claim_id=bytes(16)),
        "a task that is not there": fence._replace(id=new_id()),
    }


async def found(store: Store, task_id: str) -> bytes | None:
    """Read the progress of a task."""
    return (await store.read(task_id)).progress


@rule_of(Reports)
async def the_last_progress_counts(store: Store) -> None:
    """Any bytes, as many as are allowed; they stay when the run has ended."""
    lease = await store.running()
    first = await found(store, lease.id)

    for value in (b"10 %", bytes(range(256)) * (MAX_PROGRESS // 256), b"", b"\x00'; --"):
        true(await store.control.progress(lease.fence, value), "progress of a run is stored")
        equal(await found(store, lease.id), value, "the progress")
    await store.settle(done(lease))

    equal(first, None, "the progress before there was any")
    equal(await found(store, lease.id), b"\x00'; --", "the progress after the end")


@rule_of(Reports)
async def progress_changes_nothing_else(store: Store) -> None:
    """Neither of its own task, whose run goes on, nor of another."""
    lease, other = await store.running(), await store.running()
    before = await store.read(lease.id)

    await store.control.progress(lease.fence, b"half")
    record = await store.read(lease.id)

    rows = [(one.status, one.attempt, one.epoch, one.due_at) for one in (before, record)]
    equal(rows[1], rows[0], "state, attempt, epoch and due_at")
    equal(await found(store, other.id), None, "the progress of another task")
    equal(await store.settle(done(lease)), ["applied done"], "the answer to a settle after it")


@rule_of(Reports)
async def progress_under_a_stale_fence_is_refused(store: Store) -> None:
    """And nothing is stored."""
    for what, fence in (await stale_fences(store)).items():
        true(not await store.control.progress(fence, b"stale"), f"progress of {what} is refused")
        for record in await store.storage.fetch([fence.id]):
            equal(record and record.progress, None, f"the progress after one of {what}")


@rule_of(Reports, limits=Limits(keep_done=0.0, keep_dead=0.0, tombstone=600.0))
async def a_tombstone_has_no_progress(store: Store) -> None:
    """It goes with the arguments."""
    lease = await store.running()
    await store.control.progress(lease.fence, b"half")
    await store.settle(done(lease))

    await store.storage.prune(10)

    equal(await found(store, lease.id), None, "the progress of a tombstone")
