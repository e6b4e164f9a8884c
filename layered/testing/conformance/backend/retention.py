"""Rules of prune, counts, names and check."""

from __future__ import annotations

from datetime import timedelta

from layered.backend import Dead, Limits, Pushed, Retry
from layered.task import Status
from layered.testing.conformance.backend.store import (
    ENDINGS,
    FAILURE,
    Store,
    done,
    draft,
    ends,
)
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal, true

PAGE = 2
"""Ids of one page."""


async def prune_all(store: Store) -> None:
    """Prune until nothing is left to do."""
    turns = [await store.storage.prune(10) for _ in range(3)]
    equal(turns[-1], 0, "the rows that a third prune in a row changed")


@rule(Limits(keep_done=100.0, keep_dead=1000.0, tombstone=0.0))
async def ended_tasks_go_after_their_time(store: Store) -> None:
    """Done tasks go after `keep_done`, dead ones after `keep_dead`, others never."""
    ok, bad, live = await store.running(), await store.running(), draft(delay=1e6)
    await store.push(live)
    await store.settle(done(ok))
    await store.settle(ends(bad, Dead(FAILURE)))
    left = []

    for seconds in (99, 1, 899, 1):
        await store.clock.advance(seconds)
        await prune_all(store)
        records = await store.storage.fetch([ok.id, bad.id, live.id])
        left.append([record is not None for record in records])

    wanted = [[True, True, True], [False, True, True], [False, True, True], [False, False, True]]
    equal(left, wanted, "which of done, dead and live are there after 99, 100, 999 and 1000 s")


@rule(Limits(keep_done=0.0, tombstone=600.0))
async def a_pruned_task_leaves_a_tombstone(store: Store) -> None:
    """For a while repeated settles and pushes are still answered as they were."""
    one = draft(payload=b"large", metadata={"k": "v"})
    await store.push(one)
    lease = await store.lease()
    await store.settle(done(lease, b"result"))
    ended = store.clock.now

    await prune_all(store)
    record = await store.read(one.id)

    equal((record.id, record.name, record.status), (one.id, "a", Status.DONE), "who it was")
    rest = (record.payload, record.result, dict(record.metadata))
    equal(rest, (b"", None, {}), "payload, result and metadata")
    equal(record.finished_at, ended, "when it ended")
    same = await store.settle(done(lease, b"result"))
    equal(same, ["already done"], "the answer to the same settle")
    other = await store.settle(ends(lease, Dead(FAILURE)))
    equal(other, ["stale"], "the answer to another ending")
    equal(await store.push(one), [Pushed(one.id, Status.DONE)], "the answer to the same push")
    await store.clock.advance(600)
    equal(await store.storage.prune(10), 1, "the rows pruned when the tombstone's time is over")
    equal(list(await store.storage.fetch([one.id])), [None], "what is left of it")


@rule(Limits(keep_done=0.0, tombstone=0.0))
async def pruning_goes_in_batches(store: Store) -> None:
    """A call removes no more than its limit and says how many; the next goes on."""
    await store.push(*(draft() for _ in range(8)))
    await store.settle(*(done(lease) for lease in await store.claim(most=7)))

    turns = [await store.storage.prune(3) for _ in range(4)]

    equal(turns, [3, 3, 1, 0], "the numbers pruned in turns of 3")
    equal(await store.storage.counts("default"), {"a": {Status.READY: 1}}, "what is left")


@rule()
async def pruning_sweeps_expired_tasks(store: Store) -> None:
    """Tasks that nobody claims in time end too, ready and scheduled ones; running ones go on."""
    soon = store.clock.now + timedelta(seconds=10)
    expired = [draft(name="other", expires_at=soon), draft(delay=100.0, expires_at=soon)]
    fine = draft(expires_at=soon + timedelta(seconds=1))
    lease = await store.running(name="b", expires_at=soon)
    await store.push(*expired, fine)

    await store.clock.advance(10)
    changed = await store.storage.prune(10)
    records = await store.read_all(*(one.id for one in expired))

    equal(changed, 2, "the number pruned")
    equal([record.status for record in records], [Status.DEAD] * 2, "the states of the expired")
    true((await store.read(fine.id)).status is not Status.DEAD, "one that has time is not dead")
    answers = await store.settle(done(lease))
    equal(answers, ["applied done"], "the answer to the settle of one that ran")


@rule()
async def counts_are_by_name_and_state(store: Store) -> None:
    """Only the tasks of the queue count."""
    await store.settle(done(await store.running()))
    await store.push(draft(), draft(), draft(name="b", delay=5.0), draft(queue="elsewhere"))

    counts = await store.storage.counts("default")

    wanted = {"a": {Status.DONE: 1, Status.READY: 2}, "b": {Status.SCHEDULED: 1}}
    equal(counts, wanted, "the counts")
    equal(await store.storage.counts("nowhere"), {}, "the counts of a queue without tasks")


@rule()
async def names_are_those_with_ready_tasks(store: Store) -> None:
    """Each name of the queue once; running, ended and future tasks do not count."""
    await store.running(name="b")
    await store.push(*(draft(name=name) for name in ("z", "z", "z", "c")))
    await store.push(draft(name="later", delay=9.0), draft(name="foreign", queue="elsewhere"))

    equal(sorted(await store.storage.names("default")), ["c", "z"], "the names")
    equal(list(await store.storage.names("nowhere")), [], "the names of a queue without tasks")


@rule()
async def a_good_store_passes_its_check(store: Store) -> None:
    """Nothing is wrong with a storage that was just opened."""
    await store.storage.check()


@rule()
async def counts_move_with_the_tasks(store: Store) -> None:
    """A task counts once, in the state that it is in."""
    one = draft(delay=5.0)
    await store.push(one)
    seen = [await store.storage.counts("default")]
    await store.clock.advance(5)
    lease = await store.lease()
    seen.append(await store.storage.counts("default"))
    await store.settle(ends(lease, Retry(FAILURE, 5.0)))
    seen.append(await store.storage.counts("default"))

    states = (Status.SCHEDULED, Status.RUNNING, Status.RETRY)
    equal(seen, [{"a": {state: 1}} for state in states], "the counts after push, claim and retry")


@rule(Limits(keep_done=10.0, keep_dead=20.0, tombstone=0.0))
async def cancelled_tasks_are_kept_as_long_as_done_ones(store: Store) -> None:
    """Only dead ones, that somebody may want to look at, are kept longer."""
    leases = {name: await store.running() for name in ENDINGS if name != "retry"}
    for name, lease in leases.items():
        await store.settle(ends(lease, ENDINGS[name]))
    await store.clock.advance(10)

    await prune_all(store)
    records = await store.storage.fetch([lease.id for lease in leases.values()])

    left = [record.status.label for record in records if record is not None]
    equal(left, ["dead"], "what is left after keep_done")


@rule(Limits(keep_done=0.0, keep_dead=0.0, tombstone=600.0))
async def a_tombstone_holds_no_errors(store: Store) -> None:
    """Of a dead task, too, only who it was and how it ended is left; its end is not forgotten."""
    lease = await store.running(payload=b"large")
    dead = ends(lease, Dead(FAILURE))
    await store.settle(dead)

    await prune_all(store)
    record = await store.read(lease.id)

    equal((record.status, record.payload, list(record.errors)), (Status.DEAD, b"", []), "the task")
    equal(await store.settle(dead), ["already dead"], "the answer to the same settle")
    equal(await store.settle(done(lease)), ["stale"], "the answer to another ending")
