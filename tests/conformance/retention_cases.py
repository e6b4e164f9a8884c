"""Cases of prune, counts, names and check."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from layered.backend import ALREADY, APPLIED, STALE, Dead, Limits, Pushed, Settle, Storage
from layered.task import Status
from tests.conformance.harness import (
    FAILURE,
    START,
    Clock,
    case,
    claim,
    done,
    draft,
    read,
    running,
)

NOW = datetime.fromtimestamp(START, UTC)


async def prune_all(storage: Storage[Any]) -> None:
    """Prune until nothing is left to do."""
    for _ in range(5):
        if not await storage.prune(10):
            return
    pytest.fail("pruning finds the same rows again and again")


@case(Limits(keep_done=100.0, keep_dead=1000.0, tombstone=0.0))
async def ended_tasks_go_after_their_time(storage: Storage[Any], clock: Clock) -> None:
    """Done tasks go after `keep_done`, dead ones after `keep_dead`, others never."""
    ok, bad, live = await running(storage), await running(storage), draft(delay=1e6)
    await storage.insert([live])
    await storage.settle([done(ok), Settle(bad.fence, Dead(FAILURE), 1)])
    left = []

    for age in (99, 100, 999, 1000):
        clock.at = START + age
        await prune_all(storage)
        records = await storage.fetch([ok.id, bad.id, live.id])
        left.append([record is not None for record in records])

    assert left == [
        [True, True, True],
        [False, True, True],
        [False, True, True],
        [False, False, True],
    ]


@case(Limits(keep_done=0.0, tombstone=600.0))
async def a_pruned_task_leaves_a_tombstone(storage: Storage[Any], clock: Clock) -> None:
    """For a while repeated settles and pushes are still answered as they were."""
    one = draft(payload=b"large", metadata={"k": "v"})
    await storage.insert([one])
    (lease,) = (await claim(storage)).leases
    await storage.settle([done(lease, b"result")])

    await prune_all(storage)
    record = await read(storage, one.id)

    assert (record.id, record.name, record.status) == (one.id, "a", Status.DONE)
    assert (record.payload, record.result, dict(record.metadata)) == (b"", None, {})
    assert record.finished_at == NOW
    assert list(await storage.settle([done(lease, b"result")])) == [ALREADY[Status.DONE]]
    assert list(await storage.settle([Settle(lease.fence, Dead(FAILURE), 1)])) == [STALE]
    assert list(await storage.insert([one])) == [Pushed(one.id, Status.DONE)]
    clock.at += 600
    assert await storage.prune(10) == 1
    assert list(await storage.fetch([one.id])) == [None]


@case(Limits(keep_done=0.0, tombstone=0.0))
async def pruning_goes_in_batches(storage: Storage[Any], clock: Clock) -> None:
    """A call removes no more than its limit and says how many; the next goes on."""
    await storage.insert([draft() for _ in range(8)])
    await storage.settle([done(lease) for lease in (await claim(storage, most=7)).leases])

    turns = [await storage.prune(3) for _ in range(4)]

    assert turns == [3, 3, 1, 0]
    assert await storage.counts("default") == {"a": {Status.READY: 1}}


@case()
async def pruning_sweeps_expired_tasks(storage: Storage[Any], clock: Clock) -> None:
    """Tasks that nobody claims in time end too, ready and scheduled ones."""
    soon = NOW + timedelta(seconds=10)
    expired = [draft("other", expires_at=soon), draft(delay=100.0, expires_at=soon)]
    fine = draft(expires_at=soon + timedelta(seconds=1))
    lease = await running(storage, name="b", expires_at=soon)
    await storage.insert([*expired, fine])

    clock.at += 10
    changed = await storage.prune(10)
    records = await storage.fetch([one.id for one in expired])

    assert changed == 2
    assert [record and record.status for record in records] == [Status.DEAD] * 2
    assert (await read(storage, fine.id)).status is not Status.DEAD
    assert list(await storage.settle([done(lease)])) == [APPLIED[Status.DONE]]


@case()
async def counts_are_by_name_and_state(storage: Storage[Any], clock: Clock) -> None:
    """Only the tasks of the queue count."""
    lease = await running(storage)
    await storage.settle([done(lease)])
    await storage.insert([draft(), draft(), draft("b", delay=5.0), draft(queue="elsewhere")])

    assert await storage.counts("default") == {
        "a": {Status.DONE: 1, Status.READY: 2},
        "b": {Status.SCHEDULED: 1},
    }
    assert await storage.counts("nowhere") == {}


@case()
async def names_are_those_with_ready_tasks(storage: Storage[Any], clock: Clock) -> None:
    """Each name of the queue once; running, ended and future tasks do not count."""
    await running(storage, name="b")
    await storage.insert([draft("z") for _ in range(3)] + [draft("c"), draft("later", delay=9.0)])
    await storage.insert([draft("foreign", queue="elsewhere")])

    assert sorted(await storage.names("default")) == ["c", "z"]
    assert list(await storage.names("nowhere")) == []


@case()
async def a_good_store_passes_its_check(storage: Storage[Any], clock: Clock) -> None:
    """Nothing is wrong with a storage that was just opened."""
    await storage.check()
