"""Many storages at one PostgreSQL: each task once, each key once, each schema once."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import anyio
import psycopg
import pytest

from layered.backend import (
    Claimant,
    Dead,
    Done,
    Failure,
    Reaped,
    Release,
    Renew,
    Retry,
    Settle,
    Verdict,
)
from layered.backends.postgres import PostgresStorage
from layered.errors import Fatal, Transient
from layered.task import Dedup, Draft, Lease, OnConflict, Status, new_id

Storages = list[PostgresStorage[Any]]

CLIENTS = 8
TASKS = 10_000
ROUNDS = 40
FAILURE = Failure("ValueError", "no")
EVERY = {"str": 1000}
CHANCE = Random(1)  # noqa: S311 - no secret


@asynccontextmanager
async def storages(dsn: str, schema: str, count: int) -> AsyncIterator[Storages]:
    """Open storages, each with connections of its own."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(PostgresStorage[Any](dsn, str, schema=schema))
            for _ in range(count)
        ]


async def together(*works: Awaitable[Any]) -> list[Any]:
    """Do all at the same time, any of them first; answer what each answered."""
    answers: dict[int, Any] = {}
    order = [*enumerate(works)]
    CHANCE.shuffle(order)

    async def one(at: int, work: Awaitable[Any]) -> None:
        answers[at] = await work

    async with anyio.create_task_group() as tasks:
        for at, work in order:
            tasks.start_soon(one, at, work)
    return [answers[at] for at in range(len(works))]


def drafts(count: int, **fields: Any) -> list[Draft]:
    """Make tasks."""
    return [Draft(new_id(), "default", "str", b"1", **fields) for _ in range(count)]


@pytest.mark.parametrize("delay", [0.0, 1e-6], ids=["ready", "to be promoted"])
async def test_postgres_tasks_are_claimed_once_by_many_clients(
    postgres: str, postgres_schema: str, delay: float
) -> None:
    """No id twice in one epoch: all ten thousand, each at its first."""
    async with storages(postgres, postgres_schema, CLIENTS) as clients:
        new = drafts(TASKS, delay=delay)
        await clients[0].insert(new)
        claimed: list[Lease] = []

        async def client(number: int) -> None:
            claimant, storage = Claimant("default", f"client {number}"), clients[number]
            most = 20 + 10 * number
            while leases := (await storage.claim(claimant, {"str": most}, most)).leases:
                claimed.extend(leases)
                answers = await storage.settle(
                    [Settle(each.fence, Done(None), 1) for each in leases]
                )
                assert {answer.verdict for answer in answers} == {Verdict.APPLIED}

        while len(claimed) < TASKS:
            before = len(claimed)
            async with anyio.create_task_group() as tasks:
                for number in range(CLIENTS):
                    tasks.start_soon(client, number)
            assert len(claimed) > before
        counts = await clients[0].counts("default")

    assert Counter(lease.id for lease in claimed) == dict.fromkeys([one.id for one in new], 1)
    assert {lease.fence.epoch for lease in claimed} == {1}
    assert counts == {"str": {Status.DONE: TASKS}}


async def test_postgres_schema_is_made_once_by_many_starts(
    postgres: str, postgres_schema: str
) -> None:
    """Ten storages at a schema that nobody has made yet: one makes it, and all can use it."""
    ten = [PostgresStorage(postgres, str, schema=postgres_schema) for _ in range(10)]

    async def start(storage: PostgresStorage[str]) -> int:
        made = len(await storage.migrate())
        async with storage:
            await storage.push("x")
        return made

    made = await together(*map(start, ten))

    assert sum(count > 0 for count in made) == 1
    async with ten[0] as storage:
        assert await storage.counts("default") == {"str": {Status.READY: 10}}


async def test_postgres_leaves_a_newer_schema_untouched(
    postgres: str, postgres_schema: str
) -> None:
    """A program that does not know it refuses to start, and says what to do."""
    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        await storage.push("x")
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"INSERT INTO {postgres_schema}.migration VALUES (1000)".encode())  # noqa: S608 - no input
        admin.execute(f"ALTER TABLE {postgres_schema}.queue ADD COLUMN newer integer".encode())
        query = f"SELECT xmin, ctid::text FROM {postgres_schema}.queue".encode()  # noqa: S608 - no input
        before = admin.execute(query).fetchall()

        for _ in range(2):
            with pytest.raises(Fatal, match=r"version 1000.*update layered-tasks"):
                async with PostgresStorage(postgres, str, schema=postgres_schema):
                    pass

        assert admin.execute(query).fetchall() == before


async def test_postgres_key_is_held_by_one_of_two_pushes(
    postgres: str, postgres_schema: str
) -> None:
    """The other one is told of it."""
    async with storages(postgres, postgres_schema, 2) as two:
        for number in range(ROUNDS):
            dedup = Dedup(f"key {number}")
            pushes = [storage.insert(drafts(1, dedup=dedup)) for storage in two]

            (one,), (other,) = await together(*pushes)

            assert {one.duplicate, other.duplicate} == {None, Status.READY}
            assert one.id == other.id
        assert await two[0].counts("default") == {"str": {Status.READY: ROUNDS}}


async def test_postgres_replacements_and_claims_do_not_mix(
    postgres: str, postgres_schema: str
) -> None:
    """What is claimed is wholly the old task or wholly the new one."""
    async with storages(postgres, postgres_schema, 2) as (one, other):
        for number in range(ROUNDS):
            dedup = Dedup(f"key {number}", OnConflict.REPLACE)
            await one.insert([Draft(new_id(), "default", "str", b"old", dedup=dedup)])
            new = Draft(new_id(), "default", "str", b"new", priority=9, dedup=dedup)

            (pushed,), claimed = await together(
                one.insert([new]),
                other.claim(Claimant("default", "me"), EVERY, 1),
            )

            (lease,) = (
                claimed.leases or (await other.claim(Claimant("default", "me"), EVERY, 1)).leases
            )
            assert (lease.payload, lease.priority) == (
                (b"new", 9) if pushed.replaced else (b"old", 5)
            )


async def test_postgres_task_is_requeued_by_one_of_two(postgres: str, postgres_schema: str) -> None:
    """And of two dead tasks of one key, one."""
    async with storages(postgres, postgres_schema, 2) as (one, other):
        for number in range(ROUNDS):
            ids = []
            for _ in range(2):
                (pushed,) = await one.insert(drafts(1, dedup=Dedup(f"key {number}")))
                await one.cancel([pushed.id])
                ids.append(pushed.id)

            answers = await together(
                one.requeue(ids),
                other.requeue(ids[::-1]),
            )

            assert sum(change.changed for answer in answers for change in answer) == 1
        assert (await one.counts("default"))["str"][Status.READY] == ROUNDS


async def test_postgres_cancel_and_claim_at_once_both_count(
    postgres: str, postgres_schema: str
) -> None:
    """Cancelled before its run, or asked to stop by its renewal."""
    async with storages(postgres, postgres_schema, 2) as (one, other):
        for _ in range(ROUNDS):
            (draft,) = drafts(1)
            await one.insert([draft])

            (change,), claimed = await together(
                one.cancel([draft.id]),
                other.claim(Claimant("default", "me"), EVERY, 1),
            )

            assert change.changed
            assert change.status is (Status.RUNNING if claimed.leases else Status.CANCELLED)
            for lease in claimed.leases:
                settles = [Settle(lease.fence, Retry(FAILURE, 0.0), 1)]
                (answer,) = await other.settle(settles)
                assert answer.status is Status.CANCELLED


async def test_postgres_reap_and_settle_at_once_count_once(
    postgres: str, postgres_schema: str
) -> None:
    """A run is settled or lost."""
    async with storages(postgres, postgres_schema, 2) as (one, other):
        for _ in range(ROUNDS):
            await one.insert(drafts(1, max_lost=1))
            claimant = Claimant("default", "me", lease=0.0)
            (lease,) = (await one.claim(claimant, EVERY, 1)).leases
            settles = [Settle(lease.fence, Dead(FAILURE), 1)]

            (answer,), reaped = await together(one.settle(settles), other.reap(10))

            assert (answer.verdict is Verdict.APPLIED) == (not reaped)
            assert [*reaped] in ([], [Reaped(lease.id, "str", Status.DEAD)])
            (record,) = await one.fetch([lease.id])
            assert record is not None
            assert record.lost == len(reaped)
            assert len(record.errors) == 1


async def meddle(storage: PostgresStorage[Any], leases: dict[str, Lease], chance: Random) -> None:
    """Claim some, and do something with 40 that anybody has claimed, in any order."""
    claimant = Claimant("default", "me", lease=chance.choice([0.0, 60.0]))
    for lease in (await storage.claim(claimant, EVERY, 50)).leases:
        leases[lease.id] = lease
    some = chance.sample([*leases.values()], min(len(leases), 40))
    fences = [lease.fence for lease in some]
    ids = [lease.id for lease in some]
    works: list[Callable[[], Awaitable[object]]] = [
        lambda: storage.settle([Settle(each, Retry(FAILURE, 0.0), 1) for each in fences]),
        lambda: storage.release([Release(each, 0.0, 1) for each in fences]),
        lambda: storage.renew([Renew(each, 1) for each in fences], 60.0),
        lambda: storage.cancel(ids[:5]),
        lambda: storage.requeue(ids),
        lambda: storage.reap(40),
    ]
    await chance.choice(works)()


async def test_postgres_storages_that_write_the_same_tasks_go_on(
    postgres: str, postgres_schema: str
) -> None:
    """Rows are locked in one order: no writes wait for each other, and no task is lost."""
    leases: dict[str, Lease] = {}
    refused = Counter[str]()

    async def client(storage: PostgresStorage[Any], number: int) -> None:
        chance = Random(number)  # noqa: S311 - no secret
        for _ in range(ROUNDS):
            try:
                await meddle(storage, leases, chance)
            except Transient as error:
                refused[type(error.__cause__).__name__] += 1

    async with storages(postgres, postgres_schema, 6) as clients:
        await clients[0].insert(drafts(200, max_lost=1000))
        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                for number, storage in enumerate(clients):
                    tasks.start_soon(client, storage, number)
        counts = await clients[0].counts("default")

    assert refused == {}
    assert sum(counts["str"].values()) == 200
    assert counts["str"].keys().isdisjoint({Status.DONE, Status.DEAD, Status.SCHEDULED})
