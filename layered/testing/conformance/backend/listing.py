"""Rules of pages: what is stored, by filter, the greatest id first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from layered.backend import SCANNED, Dead, Failure, Filter, Limits, Lists, Retry, Summary
from layered.task import Status, new_id
from layered.testing.conformance.backend.store import (
    ENDINGS,
    FAILURE,
    Store,
    done,
    draft,
    ends,
)
from layered.testing.conformance.backend.suite import rule_of
from layered.testing.conformance.rule import equal, true

EVERYTHING = Filter()


async def walk(store: Store, wanted: Filter = EVERYTHING, limit: int = 2) -> Sequence[str]:
    """Go through all pages; the ids, as they came."""
    found: list[str] = []
    after: str | None = None
    while True:
        page = await store.control.page(wanted, after, limit)
        true(len(page.tasks) <= limit, "a page has no more tasks than asked for")
        found += [task.id for task in page.tasks]
        if page.after is None:
            return found
        true(after is None or page.after < after, "each page goes on with lesser ids")
        after = page.after


async def listed(store: Store, **wanted: object) -> set[str]:
    """Go through all that a filter lets through; the ids."""
    ids = await walk(store, attrs.evolve(EVERYTHING, **wanted))  # type: ignore[arg-type] # by name
    equal(list(ids), sorted(set(ids), reverse=True), f"the order of the ids listed by {wanted}")
    return set(ids)


@rule_of(Lists)
async def an_empty_store_has_an_empty_page(store: Store) -> None:
    """Nothing, and nothing after it."""
    page = await store.control.page(EVERYTHING, None, 10)

    equal((list(page.tasks), page.after), ([], None), "the page")


@rule_of(Lists)
async def every_task_is_listed_once(store: Store) -> None:
    """The greatest id first, in any state, of any queue and name; whatever the size of a page."""
    for name in ENDINGS:
        await store.settle(ends(await store.running(), ENDINGS[name]))
    await store.running(name="b")
    await store.push(draft(), draft(delay=5.0), draft(queue="elsewhere"), draft(name="other"))
    await store.push(*(draft() for _ in range(3)))
    known = [draft() for _ in range(3)]
    await store.push(*known[::-1])

    walks = {limit: await walk(store, limit=limit) for limit in (1, 2, 3, 14, 15, 100)}

    for limit, ids in walks.items():
        equal(len(ids), 15, f"the number listed by pages of {limit}")
        equal(list(ids), sorted(set(ids), reverse=True), f"the ids listed by pages of {limit}")


@rule_of(Lists)
async def a_listed_task_is_told_as_it_is_read(store: Store) -> None:
    """All that a record has, but what may be large."""
    await store.push(draft(priority=9, max_attempts=3, expires_at=store.clock.now))
    lease = await store.running(name="b")
    await store.settle(ends(lease, ENDINGS["dead"], 2))
    await store.running(name="b")

    page = await store.control.page(EVERYTHING, None, 10)
    records = await store.read_all(*(task.id for task in page.tasks))

    equal(len(page.tasks), 3, "the number of tasks listed")
    names = [field.name for field in attrs.fields(Summary)]
    for task, record in zip(page.tasks, records, strict=True):
        for name in names:
            equal(getattr(task, name), getattr(record, name), f"{name} of a listed task")


@rule_of(Lists)
async def tasks_are_listed_by_queue_name_and_state(store: Store) -> None:
    """Each filter alone; a filter that is empty lets all through, one that fits nothing none."""
    dead = await store.running()
    await store.settle(ends(dead, ENDINGS["dead"]))
    ready, other, later = draft(), draft(name="b", queue="elsewhere"), draft(name="c", delay=5.0)
    await store.push(ready, other, later)

    async def check(ids: set[str], **wanted: object) -> None:
        equal(await listed(store, **wanted), ids, f"what is listed by {wanted}")

    here = {dead.id, ready.id, later.id}
    await check(here, queue="default")
    await check({other.id}, queue="elsewhere")
    await check(set(), queue="DEFAULT")
    await check({dead.id, ready.id}, names=["a"])
    await check({dead.id, ready.id, other.id}, names=("a", "b", "unknown"))
    await check(set(), names=["A", "%", "_", "*"])
    await check({ready.id, other.id}, statuses=[Status.READY])
    await check({dead.id, later.id}, statuses={Status.DEAD, Status.SCHEDULED, Status.DONE})
    await check({*here, other.id}, names=[], statuses=frozenset())


@rule_of(Lists)
async def tasks_are_listed_by_the_time_of_their_push(store: Store) -> None:
    """From an instant, that one included, until another, that one not."""
    begin, pushed = store.clock.now, list[str]()
    for _ in range(3):
        one = draft(delay=50.0)
        await store.push(one)
        pushed.append(one.id)
        await store.clock.advance(10)
    middle = begin + timedelta(seconds=10)

    equal(await listed(store, since=middle), {*pushed[1:]}, "what is listed from an instant")
    equal(await listed(store, until=middle), {*pushed[:1]}, "what is listed until an instant")
    both = await listed(store, since=begin, until=begin + timedelta(seconds=20))
    equal(both, {*pushed[:2]}, "what is listed between two instants")
    later = await listed(store, since=middle + timedelta(microseconds=1))
    equal(later, {*pushed[2:]}, "what is listed from a microsecond after a push")
    equal(await listed(store, since=store.clock.now), set(), "what is listed from now on")


@rule_of(Lists)
async def tasks_are_listed_by_their_last_error(store: Store) -> None:
    """Not by an error before that, nor by a part of its name."""
    await store.push(draft(), draft(), draft())
    one, two, _ = await store.claim()
    await store.settle(ends(one, Retry(Failure("Early", ""), 0.0)))
    again = await store.lease()
    await store.settle(ends(again, Dead(Failure("Late", ""))), ends(two, Retry(FAILURE, 5.0)))

    equal(await listed(store, error="Late"), {one.id}, "what is listed by the last error")
    equal(await listed(store, error="ValueError"), {two.id}, "what is listed by an only error")
    for error in ("Early", "late", "Lat", "La%", ""):
        equal(await listed(store, error=error), set(), f"what is listed by {error!r}")


@rule_of(Lists)
async def filters_hold_together(store: Store) -> None:
    """A task is listed if all fit; each of these differs from the wanted one in one thing."""
    fits = draft(name="b")
    await store.push(fits, draft(name="a"), draft(name="b", queue="elsewhere"))
    await store.settle(
        *(ends(lease, ENDINGS["dead"]) for lease in await store.claim(names="ab")),
    )
    await store.settle(ends(await store.running(name="b"), ENDINGS["cancelled"]))
    await store.settle(ends(await store.running(name="b"), Dead(Failure("Other", ""))))
    end = store.clock.now + timedelta(seconds=1)
    await store.clock.advance(1)
    await store.settle(ends(await store.running(name="b"), ENDINGS["dead"]))

    found = await listed(
        store, queue="default", names=["b"], statuses=[Status.DEAD], until=end,
        error=FAILURE.type, since=end - timedelta(seconds=1),
    )  # fmt: skip

    equal(found, {fits.id}, "what is listed by all filters")


@rule_of(Lists, limits=Limits(keep_done=0.0, keep_dead=0.0, tombstone=600.0))
async def a_tombstone_is_listed(store: Store) -> None:
    """As long as it is there; but its errors are gone."""
    lease = await store.running()
    await store.settle(ends(lease, ENDINGS["dead"]))
    await store.storage.prune(10)

    equal(await listed(store, statuses=[Status.DEAD]), {lease.id}, "what is listed by its state")
    equal(await listed(store, error=FAILURE.type), set(), "what is listed by its error")


@rule_of(Lists, limits=Limits(keep_done=0.0, keep_dead=0.0, tombstone=0.0))
async def pages_go_on_while_tasks_come_and_go(store: Store) -> None:
    """What is there all the time is listed once, whatever is pushed, ended or removed meanwhile."""
    gone, stays = [draft(name="b") for _ in range(8)], [draft() for _ in range(8)]
    drafts = [one for pair in zip(gone, stays, strict=True) for one in pair]
    await store.push(*drafts)
    found: list[str] = []
    after: str | None = None
    while True:
        page = await store.control.page(EVERYTHING, after, 3)
        found += [task.id for task in page.tasks]
        if page.after is None:
            break
        after = page.after
        for lease in await store.claim(most=1, names="b"):
            await store.settle(done(lease))
            await store.storage.prune(10)
            await store.push(draft(delay=5.0), draft(name="c")._replace(id=_least()))

    equal(len(found), len(set(found)), "the number listed, each once")
    kept = sorted((one.id for one in stays), reverse=True)
    equal([one for one in found if one in kept], kept, "what is listed of those that stay")


@rule_of(Lists, limits=Limits(keep_done=0.0, keep_dead=0.0, tombstone=0.0))
async def a_page_begins_after_any_id(store: Store) -> None:
    """Also after one of a task that is gone, or never was."""
    one, two, three = draft(), draft(), draft()
    between = new_id()
    await store.push(one, two, three)
    for lease in await store.claim():
        if lease.id == two.id:
            await store.settle(done(lease))
    await store.storage.prune(10)

    for after, wanted in ((three.id, [one.id]), (two.id, [one.id]), (between, [three.id, one.id])):
        page = await store.control.page(EVERYTHING, after, 10)
        equal([task.id for task in page.tasks], wanted, f"the ids listed after {after}")
    page = await store.control.page(EVERYTHING, one.id, 10)
    equal((list(page.tasks), page.after), ([], None), "the page after the least id")


@rule_of(Lists)
async def what_is_rare_is_found_among_many(store: Store) -> None:
    """A page looks at a bounded number of rows and may come back empty; the next goes on."""
    first, last = draft(name="b"), draft(name="b", delay=5.0)
    await store.push(first)
    await store.push(*(draft() for _ in range(SCANNED + 50)))
    await store.push(last)

    rare = await walk(store, Filter(names=["b"]), 10)
    none = await walk(store, Filter(error="never"), 10)
    every = await walk(store, limit=SCANNED + 20)

    equal(list(rare), [last.id, first.id], "the rare ones")
    equal(list(none), [], "those that are not there")
    equal(len(every), SCANNED + 52, "the number of all, by pages of more than it looks at")


def _least() -> str:
    """Make an id that is less than all others: one of 1970."""
    return f"00000000{new_id()[8:]}"
