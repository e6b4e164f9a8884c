"""Rules of the signs of life that workers give."""

from __future__ import annotations

from collections.abc import Sequence

from layered.backend import Beat, Sees, Sighting
from layered.testing.conformance.backend.store import Store
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal, true

DAY = 24 * 3600.0
BEAT = Beat("one", "default", b"about", every=10.0)


async def seen(store: Store) -> Sequence[Sighting]:
    """List the workers."""
    return list(await store.control.workers())


async def alive(store: Store) -> dict[str, bool]:
    """Tell of each worker that is known whether it is alive."""
    return {sighting.owner: sighting.alive for sighting in await seen(store)}


@rule_of(Sees)
async def a_worker_is_seen_as_it_showed_itself(store: Store) -> None:
    """With its queue, what it says of itself, and when that was; those of all queues, by owner."""
    hostile = "'; -- \N{SNOWMAN}/%_"
    other = Beat(hostile, "elsewhere", bytes(range(256)), every=0.5)
    first = await seen(store)

    await store.control.beat(BEAT)
    await store.control.beat(other)
    now = store.clock.now

    wanted = [
        Sighting(hostile, "elsewhere", bytes(range(256)), now, alive=True),
        Sighting("one", "default", b"about", now, alive=True),
    ]
    equal(first, [], "the workers of a new store")
    equal(await seen(store), wanted, "the workers")


@rule_of(Sees)
async def the_last_beat_of_a_worker_counts(store: Store) -> None:
    """It may say something else, also how often it comes."""
    await store.control.beat(BEAT)
    await store.clock.advance(5)
    await store.control.beat(Beat("one", "elsewhere", b"", every=1.0))

    wanted = Sighting("one", "elsewhere", b"", store.clock.now, alive=True)
    equal(await seen(store), [wanted], "the workers")
    await store.clock.advance(3)
    equal(await alive(store), {"one": False}, "who is alive after three of its new beats")


@rule_of(Sees)
async def a_worker_is_alive_for_less_than_three_beats(store: Store) -> None:
    """By the store's clock, each by how often it beats; one that is not is still told of."""
    at = store.clock.now
    await store.control.beat(BEAT)
    await store.control.beat(BEAT._replace(owner="slow", every=3600.0))

    await store.clock.advance(29.5)
    before = await alive(store)
    await store.clock.advance(0.5)
    after = await alive(store)

    equal(before, {"one": True, "slow": True}, "who is alive just before the third beat")
    equal(after, {"one": False, "slow": True}, "who is alive at the third beat")
    equal({each.seen_at for each in await seen(store)}, {at}, "when they were seen")
    await store.control.beat(BEAT)
    true((await alive(store))["one"], "a worker that has come back is alive")


@rule_of(Sees)
async def a_worker_that_leaves_is_forgotten(store: Store) -> None:
    """At once, and no other with it; one that is not known may leave, too."""
    await store.control.beat(BEAT)
    await store.control.beat(BEAT._replace(owner="two"))

    for _ in range(2):
        await store.control.leave("one")
    await store.control.leave("unknown")

    equal(await alive(store), {"two": True}, "the workers")
    await store.control.beat(BEAT)
    equal(await alive(store), {"one": True, "two": True}, "the workers after one came back")


@rule_of(Sees)
async def a_worker_is_forgotten_a_day_after_it_was_seen(store: Store) -> None:
    """By `prune`, however often it said that it would beat; not before."""
    await store.control.beat(BEAT)
    await store.control.beat(BEAT._replace(owner="slow", every=7 * DAY))
    await store.clock.advance(DAY / 2)
    await store.control.beat(BEAT._replace(owner="late"))
    await store.clock.advance(DAY / 2 - 60)
    await store.storage.prune(10)
    before = set(await alive(store))
    await store.clock.advance(120)
    await store.storage.prune(10)

    equal(before, {"late", "one", "slow"}, "who is known just before a day has passed")
    equal(set(await alive(store)), {"late"}, "who is known after it")
