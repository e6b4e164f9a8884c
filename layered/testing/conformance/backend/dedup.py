"""Rules of dedup keys: one live task of a queue for each."""

from __future__ import annotations

from functools import partial

import anyio
from typing_extensions import Unpack

from layered.backend import Cancels, Dedups, Limits, Pushed, Release
from layered.errors import Conflict
from layered.task import Dedup, Draft, OnConflict, Status
from layered.testing.conformance.backend.race import at_once
from layered.testing.conformance.backend.store import (
    ENDINGS,
    LOST,
    Fields,
    Store,
    done,
    draft,
    ends,
    raises,
    unchanged,
)
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal

KEEP, REJECT = Dedup("key"), Dedup("key", OnConflict.REJECT)


def keyed(**fields: Unpack[Fields]) -> Draft:
    """Make a task with a key."""
    fields.setdefault("dedup", KEEP)
    return draft(**fields)


async def holder(store: Store, queue: str = "default", key: str = "key") -> str | None:
    """Answer who holds a key."""
    return await store.control.holder(queue, key)


async def held(store: Store, by: str, status: Status, what: str) -> None:
    """Fail unless a push with the key is answered by the task that holds it, and stores nothing."""
    one = keyed(payload=b"second")
    before = await store.read(by)

    equal(await store.push(one), [Pushed(by, status)], f"the answer to a push with the key {what}")
    equal(await store.storage.get(one.id), None, f"what is stored of a push with the key {what}")
    unchanged(before, await store.read(by), f"a push with the key {what}")
    equal(await holder(store), by, f"who holds the key {what}")


async def free(store: Store, what: str) -> None:
    """Fail unless a push with the key stores a task."""
    equal(await holder(store), None, f"who holds the key {what}")
    one = keyed(delay=5.0)
    equal(await store.push(one), [Pushed(one.id)], f"the answer to a push with the key {what}")
    equal(await holder(store), one.id, f"who holds the key pushed {what}")


@rule_of(Dedups)
async def a_live_task_holds_its_key(store: Store) -> None:
    """In any state but an end; a push with its key is answered by it."""
    one = keyed(delay=5.0)
    await store.push(one)
    await held(store, one.id, Status.SCHEDULED, "while it is scheduled")
    await store.clock.advance(5)
    lease = await store.lease()
    await held(store, one.id, Status.RUNNING, "while it runs")
    await store.settle(ends(lease, ENDINGS["retry"]))
    await held(store, one.id, Status.RETRY, "while it is retried")
    await store.clock.advance(5)
    lease = await store.lease()
    await store.release(Release(lease.fence, 0.0, 1))
    await held(store, one.id, Status.READY, "while it is ready")
    await store.lease(LOST)
    await store.reap()
    await held(store, one.id, Status.RETRY, "after its worker was lost")

    equal((await store.read(one.id)).dedup_key, "key", "the key of its record")


@rule_of(Dedups)
async def a_key_is_free_when_its_task_has_ended(store: Store) -> None:
    """However it ended: done, dead or cancelled."""
    equal(await holder(store), None, "who holds a key that nobody has had")
    for name in ("done", "dead", "cancelled"):
        lease = await store.running(dedup=Dedup(name))
        await store.settle(ends(lease, ENDINGS[name]))

        equal(await holder(store, key=name), None, f"who holds the key of a task that is {name}")
        again = keyed(dedup=Dedup(name), delay=5.0)
        equal(await store.push(again), [Pushed(again.id)], f"the answer to a push after {name}")
        equal(await holder(store, key=name), again.id, f"who holds the key pushed after {name}")


@rule_of(Dedups)
async def a_key_is_free_when_its_task_expired_or_was_lost(store: Store) -> None:
    """These are ends, too, that no worker wrote."""
    await store.push(keyed(expires_at=store.clock.now))
    await store.storage.prune(10)
    await free(store, "of a task that expired")

    await store.running(LOST, max_lost=1, dedup=Dedup("lost"))
    await store.reap()
    equal(await holder(store, key="lost"), None, "who holds the key of a task that was lost")


@rule_of(Dedups, Cancels)
async def a_key_is_free_when_its_task_was_cancelled(store: Store) -> None:
    """At once, if it did not run."""
    one = keyed()
    await store.push(one)
    await store.control.cancel([one.id])

    await free(store, "of a task that was cancelled")


@rule_of(Dedups)
async def a_window_holds_the_key_after_the_end(store: Store) -> None:
    """Until so long after the push; a push within it is answered by the task that has ended."""
    window = KEEP._replace(window=60.0)
    lease = await store.running(dedup=window)
    await store.settle(done(lease))
    await store.clock.advance(59.5)

    await held(store, lease.id, Status.DONE, "within its window")
    await store.clock.advance(0.5)
    await free(store, "after its window")


@rule_of(Dedups)
async def a_live_task_holds_its_key_after_its_window(store: Store) -> None:
    """A window only ever adds."""
    one = keyed(dedup=KEEP._replace(window=5.0))
    await store.push(one)
    await store.clock.advance(60)

    await held(store, one.id, Status.READY, "after its window")
    await store.settle(done(await store.lease()))
    await free(store, "after window and end")


@rule_of(Dedups, limits=Limits(keep_done=0.0, keep_dead=0.0, tombstone=0.0))
async def a_window_outlasts_retention(store: Store) -> None:
    """What is kept of the task is kept until its window ends, and then goes."""
    lease = await store.running(dedup=KEEP._replace(window=60.0))
    await store.settle(done(lease))
    for _ in range(3):
        await store.storage.prune(10)

    answers = await store.push(keyed())
    await store.clock.advance(60)
    for _ in range(3):
        await store.storage.prune(10)

    equal(answers, [Pushed(lease.id, Status.DONE)], "the answer to a push within the window")
    equal(await store.storage.get(lease.id), None, "what is left of the task after it")
    await free(store, "of a task that is gone")


@rule_of(Dedups)
async def keys_are_told_apart_exactly(store: Store) -> None:
    """By queue and key; tasks of other queues, other keys or none are no duplicates."""
    keys = ["key", "Key", "key ", "", "%", "'; --", "\N{SNOWMAN}", "e\u0301", "\xe9"]
    drafts = [keyed(dedup=Dedup(key)) for key in keys]
    drafts += [keyed(queue="elsewhere"), draft(), draft()]

    answers = await store.push(*drafts)

    equal(answers, [Pushed(one.id) for one in drafts], "the answers")
    for one in drafts[: len(keys) + 1]:
        key = one.dedup.key if one.dedup else ""
        equal(await holder(store, one.queue, key), one.id, f"who holds {key!r} of {one.queue!r}")
    equal(await holder(store, "nowhere"), None, "who holds a key of another queue")


@rule_of(Dedups)
async def a_key_is_held_whatever_the_name(store: Store) -> None:
    """Tasks of two names may stand for the same thing."""
    one, other = keyed(name="a"), keyed(name="b")

    answers = await store.push(one, other)

    equal(answers, [Pushed(one.id), Pushed(one.id, Status.READY)], "the answers")


@rule_of(Dedups)
async def a_key_pushed_by_many_at_once_is_held_by_one(store: Store) -> None:
    """One task is stored, and all are answered by it."""
    answers = await at_once(*(partial(store.push, keyed()) for _ in range(10)))

    found = [one for (one,) in answers]
    equal(len({one.id for one in found}), 1, "the number of tasks answered")
    equal(sum(one.duplicate is None for one in found), 1, "the number of callers that stored it")
    equal([lease.id for lease in await store.claim()], [found[0].id], "what can be claimed")


@rule_of(Dedups)
async def a_key_is_held_once_within_a_batch(store: Store) -> None:
    """Of two tasks with a key in one call the first is stored; the others are stored, too."""
    one, two, other = keyed(), keyed(), draft()

    answers = await store.push(one, two, other)

    wanted = [Pushed(one.id), Pushed(one.id, Status.READY), Pushed(other.id)]
    equal(answers, wanted, "the answers")
    equal({lease.id for lease in await store.claim()}, {one.id, other.id}, "what can be claimed")


@rule_of(Dedups)
async def a_repeated_push_with_a_key_is_its_own_duplicate(store: Store) -> None:
    """It is known by its id: no conflict, no replacement, and whoever holds the key by now."""
    drafts = [keyed(dedup=Dedup("key", how), payload=b"first") for how in OnConflict]
    for one in drafts:
        equal(await store.push(one), [Pushed(one.id)], "the answer to the first push")
        again = one._replace(payload=b"again")
        equal(await store.push(again), [Pushed(one.id, Status.READY)], "the answer to the second")
        equal((await store.read(one.id)).payload, b"first", "the payload")
        await store.settle(done(await store.lease()))
        equal(await store.push(again), [Pushed(one.id, Status.DONE)], "the answer after its end")
        await store.push(other := keyed())
        equal(await store.push(again), [Pushed(one.id, Status.DONE)], "that while another has it")
        equal(await holder(store), other.id, "who holds the key")
        await store.settle(done(await store.lease()))


@rule_of(Dedups)
async def a_rejected_push_stores_nothing_of_its_call(store: Store) -> None:
    """Neither the task nor those before and after it; the one that is there is as it was."""
    there = keyed()
    await store.push(there)
    before = await store.read(there.id)
    others = [draft(), keyed(dedup=Dedup("other")), draft()]
    replacing = keyed(dedup=Dedup("key", OnConflict.REPLACE), payload=b"new")

    with raises(Conflict, "a push that is to be rejected"):
        await store.push(others[0], others[1], replacing, keyed(dedup=REJECT), others[2])

    found = await store.storage.fetch([one.id for one in others])
    equal(found, [None] * 3, "what is stored of the others of the call")
    equal(await holder(store, key="other"), None, "who holds the key of another of the call")
    unchanged(before, await store.read(there.id), "a push that was rejected")
    answers = await store.push(*others)
    equal(answers, [Pushed(one.id) for one in others], "the answers to the others by themselves")


@rule_of(Dedups)
async def a_push_is_rejected_within_a_batch(store: Store) -> None:
    """A task with the same key in the same call is in the way as any."""
    one, two = keyed(), keyed(dedup=REJECT)

    with raises(Conflict, "a push that is to be rejected"):
        await store.push(one, two)

    equal(await store.storage.fetch([one.id, two.id]), [None, None], "what is stored")
    equal(await store.push(two), [Pushed(two.id)], "the answer to the second by itself")


@rule_of(Dedups)
async def a_rejected_push_within_a_window_is_rejected(store: Store) -> None:
    """A key is held by an ended task, too, while its window is open; then no more."""
    lease = await store.running(dedup=KEEP._replace(window=5.0))
    await store.settle(done(lease))

    with raises(Conflict, "a push within the window that is to be rejected"):
        await store.push(keyed(dedup=REJECT))
    await store.clock.advance(5)

    one = keyed(dedup=REJECT)
    equal(await store.push(one), [Pushed(one.id)], "the answer to a push after the window")


@rule_of(Dedups)
async def a_rejected_push_harms_no_other(store: Store) -> None:
    """Pushes of several callers may be committed together; only the one is refused."""
    await store.push(keyed(name="c"))
    drafts = [draft() for _ in range(10)]
    refused: list[None] = []

    async def rejected() -> None:
        with raises(Conflict, "a push that is to be rejected"):
            await store.push(draft(name="c"), keyed(dedup=REJECT))
        refused.append(None)

    async with anyio.create_task_group() as tasks:
        for one in drafts:
            tasks.start_soon(rejected)
            tasks.start_soon(store.push, one)

    equal(len(refused), 10, "the number of pushes that were refused")
    ids = {lease.id for lease in await store.claim(most=100, names="abc")}
    equal(len(ids - {one.id for one in drafts}), 1, "the number of other tasks claimed")
    equal(len(ids), 11, "the number of tasks claimed")
