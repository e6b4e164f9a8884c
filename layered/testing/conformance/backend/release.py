"""Rules of release, and of the hints that writes give."""

from __future__ import annotations

from datetime import timedelta

from layered.backend import Release, Retry
from layered.task import Status
from layered.testing.conformance.backend.store import FAILURE, Store, done, draft, ends
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal, true


@rule()
async def a_release_is_not_charged(store: Store) -> None:
    """A task that was given back is ready at once, in its old place, with its old attempts."""
    lease = await store.running(max_attempts=1)
    due = store.clock.now
    await store.clock.advance(5)

    answer = await store.release(Release(lease.fence, 0.0, 1))
    record = await store.read(lease.id)
    again = await store.lease()

    equal(answer, ["applied ready"], "the answer")
    row = (record.status, record.attempt, record.due_at)
    equal(row, (Status.READY, 0, due), "state, attempt and due_at")
    equal((again.attempt, again.fence.epoch), (1, 2), "attempt and epoch of the next run")


@rule()
async def a_release_may_have_a_delay(store: Store) -> None:
    """A snoozed task waits for its delay; reruns in process stay charged."""
    lease = await store.running()
    due = store.clock.now + timedelta(seconds=15)

    answer = await store.release(Release(lease.fence, 15.0, 3))
    record = await store.read(lease.id)
    early = await store.claim()
    await store.clock.advance(15)

    equal(answer, ["applied retry"], "the answer")
    equal((record.attempt, record.due_at), (2, due), "attempt and due_at")
    equal(len(early), 0, "the number of tasks claimed before the delay was over")
    equal((await store.lease()).attempt, 3, "the attempt of the next run")


@rule()
async def returns_and_ends_give_hints(store: Store) -> None:
    """Releases and retries may be claimed again, ends may be waited for."""
    pushed: list[None] = []
    ended: list[None] = []
    await store.push(draft(), draft(), draft())
    one, two, three = await store.claim()

    with (
        store.storage.pushed.listening(lambda: pushed.append(None)),
        store.storage.ended.listening(lambda: ended.append(None)),
    ):
        await store.release(Release(one.fence, 0.0, 1))
        true(pushed, "a listener of `pushed` hears of a release")
        pushed.clear()
        await store.settle(ends(two, Retry(FAILURE, 1.0)))
        true(pushed, "a listener of `pushed` hears of a retry")
        await store.settle(done(three))
        true(ended, "a listener of `ended` hears of an end")
