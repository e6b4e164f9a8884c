"""Cases of insert and fetch."""

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from layered.backend import Pushed, Storage
from layered.task import Status, from_micros, new_id
from tests.conformance.harness import (
    ME,
    START,
    Clock,
    case,
    claim,
    claim_one,
    done,
    draft,
    read,
)

NOW = datetime.fromtimestamp(START, UTC)


@case()
async def what_is_inserted_is_read_back(storage: Storage[Any], clock: Clock) -> None:
    """Every field comes back as it was stored; bytes are not looked at."""
    metadata = {"traceparent": "00-é-\N{SNOWMAN}", "": ""}
    one = draft(
        payload=bytes(range(256)), codec="own", version=7, metadata=metadata, priority=9,
        max_attempts=4,
    )  # fmt: skip

    answers = await storage.insert([one])
    record = await read(storage, one.id)

    assert list(answers) == [Pushed(one.id, None)]
    assert (record.id, record.queue, record.name) == (one.id, "default", "a")
    assert (record.payload, record.codec, record.version) == (bytes(range(256)), "own", 7)
    assert dict(record.metadata) == metadata
    assert (record.priority, record.max_attempts, record.status) == (9, 4, Status.READY)
    assert (record.attempt, record.lost, record.epoch, record.owner) == (0, 0, 0, None)
    assert (record.due_at, record.created_at, record.finished_at) == (NOW, NOW, None)
    assert (record.result, list(record.errors)) == (None, [])


@case()
async def an_id_is_stored_once(storage: Storage[Any], clock: Clock) -> None:
    """A second task of an id is not stored, and the answer says in which state the first is."""
    first = draft(payload=b"first")
    await storage.insert([first])
    await claim_one(storage)

    answers = await storage.insert([first._replace(payload=b"second")])

    assert list(answers) == [Pushed(first.id, Status.RUNNING)]
    assert (await read(storage, first.id)).payload == b"first"


@case()
async def an_id_is_stored_once_within_a_batch(storage: Storage[Any], clock: Clock) -> None:
    """Of two tasks of one id in one call the first is stored; the others are stored too."""
    one, other = draft(payload=b"first"), draft()

    answers = await storage.insert([one, one._replace(payload=b"second"), other])

    assert list(answers) == [Pushed(one.id), Pushed(one.id, Status.READY), Pushed(other.id)]
    assert (await read(storage, one.id)).payload == b"first"
    assert (await read(storage, other.id)).status is Status.READY


@case()
async def an_ended_task_is_still_a_duplicate(storage: Storage[Any], clock: Clock) -> None:
    """Pushing the id of a task that is done changes nothing."""
    one = draft()
    await storage.insert([one])
    await storage.settle([done(await claim_one(storage), b"7")])

    answers = await storage.insert([one])

    assert list(answers) == [Pushed(one.id, Status.DONE)]
    assert (await read(storage, one.id)).result == b"7"


@case()
async def fetch_answers_in_order(storage: Storage[Any], clock: Clock) -> None:
    """One answer per id, also for ids that are not there and ids asked for twice."""
    one, two = draft(), draft()
    await storage.insert([one, two])

    records = await storage.fetch([two.id, new_id(), one.id, two.id])

    assert [record and record.id for record in records] == [two.id, None, one.id, two.id]


@case()
async def a_delayed_task_is_scheduled(storage: Storage[Any], clock: Clock) -> None:
    """A delay counts from the store's clock, to the microsecond."""
    one = draft(delay=90.000001)

    await storage.insert([one])
    record = await read(storage, one.id)

    assert record.status is Status.SCHEDULED
    assert record.due_at == NOW + timedelta(seconds=90, microseconds=1)


@case()
async def an_instant_wins_over_a_delay(storage: Storage[Any], clock: Clock) -> None:
    """A task for an instant is due then; one for the past is due at once, with that due time."""
    future = draft(at=NOW + timedelta(days=400, microseconds=3), delay=1.0)
    past = draft(at=NOW - timedelta(days=1), delay=1.0)

    await storage.insert([future, past])
    records = [await read(storage, one.id) for one in (future, past)]

    assert [record.status for record in records] == [Status.SCHEDULED, Status.READY]
    assert [record.due_at for record in records] == [future.at, past.at]


@case()
async def a_push_gives_a_hint(storage: Storage[Any], clock: Clock) -> None:
    """What may have become claimable is said to listeners in this process."""
    heard: list[None] = []

    with storage.pushed.listening(lambda: heard.append(None)):
        await storage.push("x")

    assert heard


@case()
async def an_empty_call_is_answered(storage: Storage[Any], clock: Clock) -> None:
    """Nothing to do is no error, for any operation on a list."""
    assert list(await storage.insert([])) == []
    assert list(await storage.settle([])) == []
    assert list(await storage.release([])) == []
    assert list(await storage.renew([], 30.0)) == []
    assert list(await storage.fetch([])) == []
    assert list((await storage.claim(ME, {}, 1)).leases) == []


@case()
async def many_callers_insert_at_once(storage: Storage[Any], clock: Clock) -> None:
    """Concurrent pushes all arrive, each once."""
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(storage.push, str(number))

    leases = (await claim(storage, most=100)).leases

    assert sorted(int(lease.payload.strip(b'"')) for lease in leases) == list(range(50))
    assert all(from_micros(lease.created_at) == NOW for lease in leases)
