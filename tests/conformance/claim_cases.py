"""Cases of claim, and of promotion and expiry within it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from layered.backend import Claimant, Release, Retry, Settle, Storage
from layered.task import Lease, Status
from tests.conformance.harness import (
    FAILURE,
    ME,
    START,
    Clock,
    case,
    claim,
    claim_one,
    draft,
    read,
    running,
)

NOW = datetime.fromtimestamp(START, UTC)


@case()
async def a_claim_answers_the_whole_task(storage: Storage[Any], clock: Clock) -> None:
    """The lease has the task as it was pushed; the first run is attempt 1 in epoch 1."""
    one = draft(
        payload=b"\xff\x00", codec="own", version=3, metadata={"k": "v"}, priority=2, max_attempts=8
    )
    await storage.insert([one])

    lease = await claim_one(storage)
    record = await read(storage, one.id)

    assert (lease.id, lease.fence.epoch, len(lease.fence.claim_id)) == (one.id, 1, 16)
    assert (lease.queue, lease.name, lease.payload) == ("default", "a", b"\xff\x00")
    assert (lease.codec, lease.version, dict(lease.metadata)) == ("own", 3, {"k": "v"})
    assert (lease.priority, lease.attempt, lease.max_attempts, lease.lost) == (2, 1, 8, 0)
    assert lease.due_at == lease.created_at == int(START * 1e6)
    assert (record.status, record.attempt, record.epoch) == (Status.RUNNING, 1, 1)
    assert record.owner == "me"


@case()
async def a_running_task_is_not_claimed(storage: Storage[Any], clock: Clock) -> None:
    """A claimed task belongs to its claimant, even when its lease is over, until it is reaped."""
    await running(storage, Claimant("default", "late", lease=0.0))

    again = await claim(storage)

    assert list(again.leases) == []


@case()
async def the_epoch_rises_at_each_claim(storage: Storage[Any], clock: Clock) -> None:
    """Neither a retry nor a release gives an epoch back; claim ids never repeat."""
    lease = await running(storage)
    leases = [lease]
    await storage.settle([Settle(lease.fence, Retry(FAILURE, 0.0), 1)])
    leases.append(await claim_one(storage))
    await storage.release([Release(leases[-1].fence, 0.0, 2)])
    leases.append(await claim_one(storage))

    assert [each.fence.epoch for each in leases] == [1, 2, 3]
    assert len({each.fence.claim_id for each in leases}) == 3


@case()
async def claims_are_in_order(storage: Storage[Any], clock: Clock) -> None:
    """Higher priority first, then earlier due, then the smaller id, whatever the name."""
    low = draft(priority=1)
    old = draft("b", at=NOW - timedelta(seconds=5))
    first, second, third = (draft(name) for name in ("a", "b", "a"))
    high = draft("b", priority=9)
    await storage.insert([low, third, second, high, first, old])

    leases = (await claim(storage, most=5)).leases

    assert [lease.id for lease in leases] == [high.id, old.id, first.id, second.id, third.id]
    assert [lease.id for lease in (await claim(storage)).leases] == [low.id]


@case()
async def only_wanted_names_are_claimed(storage: Storage[Any], clock: Clock) -> None:
    """Tasks of other names and queues stay as they are, due or not."""
    others = [draft("other"), draft("other", delay=5.0), draft(queue="elsewhere")]
    wanted = draft("b")
    await storage.insert([*others, wanted])
    clock.at += 10

    leases = (await claim(storage)).leases

    assert [lease.id for lease in leases] == [wanted.id]
    records = [await read(storage, one.id) for one in others]
    assert [record.epoch for record in records] == [0, 0, 0]
    assert not any(record.status is Status.RUNNING for record in records)


@case()
async def each_name_has_its_own_limit(storage: Storage[Any], clock: Clock) -> None:
    """A claim takes no more of a name than asked for, and no more than *most* in all."""
    await storage.insert([draft("a", priority=9) for _ in range(5)])
    await storage.insert([draft("b") for _ in range(5)])

    first = (await storage.claim(ME, {"a": 2, "b": 10, "c": 3}, 4)).leases
    second = (await storage.claim(ME, {"a": 0, "b": 10}, 10)).leases

    assert [lease.name for lease in first] == ["a", "a", "b", "b"]
    assert [lease.name for lease in second] == ["b", "b", "b"]


@case()
async def a_claim_says_whether_there_is_more(storage: Storage[Any], clock: Clock) -> None:
    """A full claim of a longer backlog says `more`; an empty one does not."""
    await storage.insert([draft() for _ in range(3)])

    first = await claim(storage, most=2)
    second = await claim(storage, most=2)
    third = await claim(storage, most=2)

    assert [len(each.leases) for each in (first, second, third)] == [2, 1, 0]
    assert first.more
    assert not third.more


@case()
async def nothing_is_claimed_before_it_is_due(storage: Storage[Any], clock: Clock) -> None:
    """A delayed task is claimed at its due time, not before, also if another is due."""
    await storage.insert([draft(delay=60.0), draft(delay=60.5)])

    clock.at = START + 59.9999
    early = await claim(storage)
    clock.at = START + 60.0
    due = await claim(storage)

    assert list(early.leases) == []
    assert len(due.leases) == 1


@case()
async def a_claim_tells_when_the_next_task_is_due(storage: Storage[Any], clock: Clock) -> None:
    """The next future task of a wanted name counts, not those of other names or queues."""
    nothing = await claim(storage)
    await storage.insert([draft(delay=60.0), draft("b", delay=30.0), draft("other", delay=5.0)])
    await storage.insert([draft(queue="elsewhere", delay=1.0)])

    both = await claim(storage)
    only = await storage.claim(ME, {"a": 1}, 1)

    assert nothing.next_due_in is None
    assert both.next_due_in is not None
    assert only.next_due_in is not None
    assert abs(both.next_due_in - 30.0) < 0.001
    assert abs(only.next_due_in - 60.0) < 0.001


@case()
async def many_due_tasks_are_promoted_in_turns(storage: Storage[Any], clock: Clock) -> None:
    """A claim promotes no more than it can take of a name; the next ones go on."""
    await storage.insert([draft(delay=float(n)) for n in range(1, 8)])
    clock.at += 100
    found: list[Lease] = []

    while (claimed := await claim(storage, most=3)).leases:
        found.extend(claimed.leases)

    assert [lease.due_at for lease in found] == sorted(lease.due_at for lease in found)
    assert len(found) == 7


@case()
async def an_expired_task_is_not_claimed(storage: Storage[Any], clock: Clock) -> None:
    """A claim makes expired tasks dead when it meets them, and takes those behind them."""
    late = draft(priority=9, expires_at=NOW + timedelta(seconds=10))
    fine = draft(expires_at=NOW + timedelta(seconds=60))
    await storage.insert([late, fine])
    clock.at += 10

    lease = await claim_one(storage)
    record = await read(storage, late.id)

    assert lease.id == fine.id
    assert (record.status, record.epoch, record.payload) == (Status.DEAD, 0, b"1")
    assert [failure.type for failure in record.errors] == ["expired"]
    assert record.finished_at == NOW + timedelta(seconds=10)


@case()
async def a_claim_looks_at_a_bounded_number(storage: Storage[Any], clock: Clock) -> None:
    """A claim among expired tasks looks at twice as many as it may take, and says `more`."""
    expired = [draft(priority=9, expires_at=NOW + timedelta(seconds=1)) for _ in range(7)]
    fine = draft()
    await storage.insert([*expired, fine])
    clock.at += 5

    first = await claim(storage, most=2)
    states = [(await read(storage, one.id)).status for one in expired]
    second = await claim(storage, most=2)
    third = await claim(storage, most=2)

    assert (list(first.leases), first.more) == ([], True)
    assert states.count(Status.DEAD) == 4
    assert [lease.id for lease in (*second.leases, *third.leases)] == [fine.id]


@case()
async def a_claim_says_more_while_due_tasks_wait_to_be_promoted(
    storage: Storage[Any], clock: Clock
) -> None:
    """A worker may end when a claim found nothing and there is no more: nothing due is left."""
    expires = NOW + timedelta(seconds=2)
    expired = [draft(delay=1.0, expires_at=expires) for _ in range(5)]
    fine = draft(delay=1.5)
    await storage.insert([*expired, fine])
    clock.at += 5

    found: list[str] = []
    while True:
        claimed = await claim(storage, most=2)
        found += [lease.id for lease in claimed.leases]
        if not claimed.leases and not claimed.more:
            break

    assert found == [fine.id]


@case()
async def concurrent_claimers_share_the_tasks(storage: Storage[Any], clock: Clock) -> None:
    """Eight claimers at once: every task is claimed, none twice in one epoch."""
    await storage.insert([draft() for _ in range(200)])
    taken: list[Lease] = []

    async def take(owner: str) -> None:
        while leases := (await claim(storage, Claimant("default", owner), 7)).leases:
            taken.extend(leases)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(take, f"claimer {number}")

    assert len({lease.id for lease in taken}) == len(taken) == 200
