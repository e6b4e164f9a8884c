"""What users may send: it is stored and comes back, or is refused before."""

import random
import sys
from datetime import UTC, datetime

import pytest

from layered.backend import (
    APPLIED,
    Claimant,
    Dead,
    Done,
    Failure,
    Filter,
    Inspector,
    Release,
    Renew,
    Renewal,
    Retry,
    Settle,
)
from layered.backends.postgres import PostgresStorage
from layered.errors import PushRefused
from layered.task import Dedup, Draft, Kind, Lease, Status, new_id

ODD = ["%s", "%(ids)s", "'; --", '"', "\\", "{a,NULL}", "NULL", "null", "\U0001f600", "ẞ é", " "]
"""Names and texts that mean something to some part of the way."""
UNKEPT = ["a\0b", "\ud800", "\udcff"]
"""Texts that a text of PostgreSQL cannot have."""
ME = Claimant("default", "me")


async def claimed(storage: PostgresStorage[str], count: int = 1) -> list[Lease]:
    """Push and claim tasks."""
    await storage.insert([Draft(new_id(), "default", "str", b"1") for _ in range(count)])
    return [*(await storage.claim(ME, {"str": count}, count)).leases]


@pytest.mark.parametrize("text", ODD)
async def test_postgres_keeps_odd_names(postgres: str, postgres_schema: str, text: str) -> None:
    """Of tasks and queues, keys, owners and steps, wherever they are asked for again."""
    kind = Kind(str, name=text)
    async with PostgresStorage[str](
        postgres, (kind,), queue=text, schema=postgres_schema
    ) as storage:
        pushed = await storage.push("x", dedup=Dedup(text, window=60.0), metadata={text: text})
        await storage.pause(text, None)
        await storage.resume(text)
        (lease,) = (await storage.claim(Claimant(text, text, lease=0.0), {text: 1}, 1)).leases
        step = await storage.checkpoint(lease.fence, text, b"1")
        (reaped,) = await storage.reap(10)
        counted = await storage.counts(text)
        wanted = Filter(queue=text, names=[text], error="worker_lost")
        (listed,) = (await storage.page(wanted, None, 10)).tasks
        (record,) = await storage.fetch([pushed.id])

        assert (lease.name, lease.queue, lease.metadata) == (text, text, {text: text})
        assert step == b"1"
        assert await storage.checkpoints(pushed.id) == {text: b"1"}
        assert (reaped.name, listed.name, listed.queue) == (text, text, text)
        assert counted == {text: {Status.RETRY: 1}}
        assert text in [queue.name for queue in await storage.queues()]
        assert await storage.holder(text, text) == pushed.id
        assert record is not None
        assert text in record.errors[0].message


@pytest.mark.parametrize("text", UNKEPT)
async def test_postgres_refuses_names_that_it_cannot_keep(
    postgres: str, postgres_schema: str, text: str
) -> None:
    """Where they are given, not where they are sent."""
    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        with pytest.raises(PushRefused):
            Kind(str, name=text)
        with pytest.raises(PushRefused):
            PostgresStorage(postgres, str, queue=text)
        with pytest.raises(PushRefused):
            await storage.push("x", dedup=text)
        with pytest.raises(PushRefused):
            await Inspector(storage).pause(text)


@pytest.mark.parametrize("text", [*ODD, *UNKEPT, "", "\n\t\x7f"])
async def test_postgres_settles_with_any_text(
    postgres: str, postgres_schema: str, text: str
) -> None:
    """An error says what it wants; a settle that cannot be written is repeated for ever."""
    failure = Failure(text, text, text)
    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        one, other = await claimed(storage, 2)

        answers = await storage.settle(
            [Settle(one.fence, Retry(failure, 60.0), 1), Settle(other.fence, Dead(failure), 1)]
        )

        assert answers == [APPLIED[Status.RETRY], APPLIED[Status.DEAD]]
        for record in await storage.fetch([one.id, other.id]):
            assert record is not None
            assert record.errors == (failure,)
        if text.isprintable():  # no other can be filtered by
            found = await storage.page(Filter(error=text), None, 10)
            assert {task.id for task in found.tasks} == {one.id, other.id}


@pytest.mark.parametrize("text", [*ODD, *UNKEPT, "", "\n\t\x7f"])
async def test_postgres_keeps_any_metadata(postgres: str, postgres_schema: str, text: str) -> None:
    """Keys and values."""
    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        pushed = await storage.push("x", metadata={text: text})
        (lease,) = (await storage.claim(ME, {"str": 1}, 1)).leases
        (record,) = await storage.fetch([pushed.id])

    assert record is not None
    assert lease.metadata == record.metadata == {text: text}


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e12, 1e300, sys.float_info.max])
async def test_postgres_takes_any_length_of_time(
    postgres: str, postgres_schema: str, seconds: float
) -> None:
    """What is longer than there are years is as long as there are."""
    claimant = Claimant("default", "me", lease=seconds, max_run=seconds)
    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        await storage.push("x", delay=seconds, dedup=Dedup("key", window=seconds))
        await storage.push_many(["y"] * 4)
        leases = (await storage.claim(claimant, {"str": 4}, 4)).leases
        fences = [lease.fence for lease in leases]
        failure = Failure("ValueError", "no")

        renewed = await storage.renew([Renew(fence, 1) for fence in fences], seconds)
        answers = await storage.settle([Settle(fences[0], Retry(failure, seconds), 1)])
        answers = [*answers, *await storage.release([Release(fences[1], seconds, 1)])]

        assert len(leases) == 4
        assert seconds < 1 or renewed == [Renewal.OK] * 4
        assert [answer.status for answer in answers] == [
            Status.RETRY,
            Status.RETRY if seconds >= 1e-6 else Status.READY,
        ]
        records = await storage.fetch([fence.id for fence in fences])
        assert all(record is not None and record.due_at.year <= 9999 for record in records)


@pytest.mark.parametrize(
    "instant", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
async def test_postgres_takes_any_instant(
    postgres: str, postgres_schema: str, instant: datetime
) -> None:
    """From the first to the last that there is."""
    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        due = await storage.push("x", at=instant)
        expiring = await storage.push("x", at=instant, expires_at=instant)
        await storage.pause("default", instant)
        await storage.resume("default")
        claimed = await storage.claim(ME, {"str": 9}, 9)
        await storage.prune(10)
        records = await storage.fetch([due.id, expiring.id])
        listed = await storage.page(Filter(since=instant), None, 10)

    assert [record and record.due_at for record in records] == [instant] * 2
    past = instant.year == 1
    assert [lease.id for lease in claimed.leases] == ([due.id] if past else [])
    assert len(listed.tasks) == (2 if past else 0)


async def test_postgres_takes_the_largest_numbers(postgres: str, postgres_schema: str) -> None:
    """Of attempts and of what is asked for at once."""
    most = 2**31 - 1
    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        await storage.push("x", max_attempts=most, max_lost=most)
        wanted = {"str": sys.maxsize, "other": sys.maxsize}
        (lease,) = (await storage.claim(ME, wanted, most)).leases
        answers = await storage.settle([Settle(lease.fence, Done(b"1"), most)])
        assert await storage.reap(most) == []
        assert await storage.prune(most) == 0
        (record,) = await storage.fetch([lease.id])

    assert answers == [APPLIED[Status.DONE]]
    assert record is not None
    assert record.attempt == most


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)  # one: it takes seconds
async def test_postgres_takes_a_hundred_large_payloads_and_results(
    postgres: str, postgres_schema: str
) -> None:
    """As large as they may be, in one statement each."""
    large = random.Random(1).randbytes(1 << 20)  # noqa: S311 - no secret
    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        ids = [new_id() for _ in range(100)]
        await storage.insert([Draft(each, "default", "str", large) for each in ids])
        leases = (await storage.claim(ME, {"str": 100}, 100)).leases

        answers = await storage.settle([Settle(each.fence, Done(large), 1) for each in leases])

        assert [lease.payload for lease in leases] == [large] * 100
        assert answers == [APPLIED[Status.DONE]] * 100
        (record,) = await storage.fetch(ids[-1:])
    assert record is not None
    assert (record.payload, record.result) == (large, large)
