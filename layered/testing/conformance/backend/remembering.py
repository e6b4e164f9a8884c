"""Rules of checkpoints: what a task has done already, kept for its next run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from layered.backend import Limits, Release, Remembers, Requeues
from layered.task import Lease, new_id
from layered.testing.conformance.backend.progress import stale_fences
from layered.testing.conformance.backend.race import at_once
from layered.testing.conformance.backend.store import ENDINGS, LOST, Store, done, ends
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal, true


async def keep(store: Store, lease: Lease, step: str, value: bytes) -> bytes | None:
    """Store the value of a step."""
    return await store.control.checkpoint(lease.fence, step, value)


async def kept(store: Store, task_id: str) -> Mapping[str, bytes]:
    """Read the values of all steps."""
    return dict(await store.control.checkpoints(task_id))


@rule_of(Remembers)
async def the_first_value_of_a_step_counts(store: Store) -> None:
    """Every later one is answered by it; each step of each task has its own."""
    lease, other = await store.running(), await store.running()

    first = await keep(store, lease, "fetch", b"1")
    again = await keep(store, lease, "fetch", b"2")
    answers = [await keep(store, lease, "Fetch", b"3"), await keep(store, other, "fetch", b"4")]

    equal((first, again), (b"1", b"1"), "the answers to the first value and the second")
    equal(answers, [b"3", b"4"], "the answers for another step, and another task")
    equal(await kept(store, lease.id), {"fetch": b"1", "Fetch": b"3"}, "the steps of the one")
    equal(await kept(store, other.id), {"fetch": b"4"}, "the steps of the other")
    equal(await store.settle(done(lease)), ["applied done"], "the answer to a settle after it")


@rule_of(Remembers)
async def any_step_may_have_any_value(store: Store) -> None:
    """No bytes are a value, too; a step's name is text of any script."""
    lease = await store.running()
    values = {
        "": b"",
        "'; -- \N{SNOWMAN} %_*": bytes(range(256)),
        "large": b"\xed\xa0\x80" * 40_000,
    }

    answers = [await keep(store, lease, step, value) for step, value in values.items()]

    true(answers == [*values.values()], "a value is answered as it was stored")
    equal(await keep(store, lease, "", b"other"), b"", "the answer where no bytes were stored")
    true(await kept(store, lease.id) == values, "values are read as they were stored")


@rule_of(Remembers)
async def steps_of_an_unknown_task_are_none(store: Store) -> None:
    """So are those of a task that has stored none."""
    lease = await store.running()

    equal(await kept(store, new_id()), {}, "the steps of a task that is not there")
    equal(await kept(store, lease.id), {}, "the steps of a task without")


@rule_of(Remembers)
async def a_checkpoint_under_a_stale_fence_is_refused(store: Store) -> None:
    """Nothing is stored, and what is stored is not told."""
    for what, fence in (await stale_fences(store)).items():
        answer = await store.control.checkpoint(fence, "step", b"stale")
        equal(answer, None, f"the answer to a checkpoint of {what}")
        equal(await kept(store, fence.id), {}, f"the steps after a checkpoint of {what}")
    lost = await store.running(LOST)
    await keep(store, lost, "step", b"1")
    await store.reap()

    equal(await keep(store, lost, "step", b"2"), None, "the answer for a step that is stored")
    equal(await kept(store, lost.id), {"step": b"1"}, "the steps")


@rule_of(Remembers)
async def checkpoints_outlive_the_run(store: Store) -> None:
    """A retry, a release and a lost worker leave them to the next run; so does the end."""
    lease = await store.running(max_lost=9)
    await keep(store, lease, "one", b"1")
    await store.settle(ends(lease, ENDINGS["retry"]))
    await store.clock.advance(5)
    lease = await store.lease(LOST)
    answers = [await keep(store, lease, "one", b"2"), await keep(store, lease, "two", b"2")]
    await store.reap()
    await store.clock.advance(60)
    lease = await store.lease()
    answers += [await keep(store, lease, "two", b"3")]
    await store.release(Release(lease.fence, 0.0, 1))
    lease = await store.lease()
    answers += [await keep(store, lease, "one", b"4")]
    await store.settle(done(lease))

    equal(answers, [b"1", b"2", b"2", b"1"], "what later runs are answered")
    equal(await kept(store, lease.id), {"one": b"1", "two": b"2"}, "the steps after the end")


@rule_of(Remembers, Requeues)
async def checkpoints_outlive_a_requeue(store: Store) -> None:
    """Who requeues a dead task wants it to go on where it stopped."""
    lease = await store.running()
    await keep(store, lease, "one", b"1")
    await store.settle(ends(lease, ENDINGS["dead"]))
    await store.control.requeue([lease.id])
    again = await store.lease()

    equal(await keep(store, again, "one", b"2"), b"1", "what the next run is answered")


@rule_of(Remembers, limits=Limits(keep_done=0.0, keep_dead=0.0, tombstone=600.0))
async def a_tombstone_has_no_checkpoints(store: Store) -> None:
    """They go with the arguments; those of other tasks stay."""
    lease, other = await store.running(), await store.running()
    await keep(store, lease, "one", b"1")
    await keep(store, other, "one", b"2")
    await store.settle(done(lease))

    await store.storage.prune(10)

    equal(await kept(store, lease.id), {}, "the steps of a tombstone")
    equal(await kept(store, other.id), {"one": b"2"}, "the steps of a running task")


@rule_of(Remembers, limits=Limits(keep_done=0.0, keep_dead=0.0, tombstone=0.0))
async def a_new_task_has_no_checkpoints_of_an_old_one(store: Store) -> None:
    """A task that is gone leaves nothing to one that is pushed under its id."""
    lease = await store.running()
    await keep(store, lease, "one", b"1")
    await store.settle(done(lease))
    for _ in range(2):
        await store.storage.prune(10)
    again = await store.running(id=lease.id)

    equal(await kept(store, lease.id), {}, "the steps of the new task")
    equal(await keep(store, again, "one", b"2"), b"2", "the answer to its first value")


@rule_of(Remembers)
async def of_many_values_at_once_one_is_kept(store: Store) -> None:
    """All are answered with it."""
    lease = await store.running()
    values = [str(number).encode() for number in range(10)]

    answers = await at_once(*(partial(keep, store, lease, "one", value) for value in values))

    equal(len(set(answers)), 1, "the number of values answered")
    equal(await kept(store, lease.id), {"one": answers[0]}, "the steps")
