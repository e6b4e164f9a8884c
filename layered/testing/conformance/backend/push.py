"""Rules of insert and fetch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio

from layered.backend import Claimant, Pushed, Retry
from layered.task import Status, from_micros, new_id
from layered.testing.conformance.backend.store import (
    ENDINGS,
    FAILURE,
    ME,
    Store,
    done,
    draft,
    ends,
)
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal, true


@rule()
async def what_is_pushed_is_read_back(store: Store) -> None:
    """Every field comes back as it was stored; a task begins with no run, no loss and epoch 0."""
    metadata = {"traceparent": "00-é-\N{SNOWMAN}", "": ""}
    one = draft(
        payload=b"\xff\x00", codec="own", version=7, metadata=metadata, priority=9, max_attempts=4
    )

    answers = await store.push(one)
    record = await store.read(one.id)

    now = store.clock.now
    equal(answers, [Pushed(one.id, None)], "the answer to the push")
    equal((record.id, record.queue, record.name), (one.id, "default", "a"), "id, queue and name")
    encoded = (record.payload, record.codec, record.version)
    equal(encoded, (b"\xff\x00", "own", 7), "payload, codec and version")
    equal(dict(record.metadata), metadata, "the metadata")
    equal((record.priority, record.max_attempts), (9, 4), "priority and max_attempts")
    equal(record.status, Status.READY, "the state")
    equal((record.attempt, record.lost, record.epoch), (0, 0, 0), "attempt, lost and epoch")
    equal(record.owner, None, "the owner")
    times = (record.due_at, record.created_at, record.finished_at)
    equal(times, (now, now, None), "due_at, created_at and finished_at")
    equal((record.result, list(record.errors)), (None, []), "result and errors")


@rule()
async def an_id_is_stored_once(store: Store) -> None:
    """A second task of an id is not stored, and the answer says in which state the first is."""
    first = draft(payload=b"first")
    await store.push(first)
    await store.lease()

    answers = await store.push(first._replace(payload=b"second"))

    equal(answers, [Pushed(first.id, Status.RUNNING)], "the answer to the second push")
    equal((await store.read(first.id)).payload, b"first", "the payload")


@rule()
async def an_id_is_stored_once_within_a_batch(store: Store) -> None:
    """Of two tasks of one id in one call the first is stored; the others are stored too."""
    one, other = draft(payload=b"first"), draft()

    answers = await store.push(one, one._replace(payload=b"second"), other)

    wanted = [Pushed(one.id), Pushed(one.id, Status.READY), Pushed(other.id)]
    equal(answers, wanted, "the answers")
    equal((await store.read(one.id)).payload, b"first", "the payload")
    equal((await store.read(other.id)).status, Status.READY, "the state of the other task")


@rule()
async def an_id_pushed_by_many_at_once_is_stored_once(store: Store) -> None:
    """Of callers that push the same task at the same time one stores it; the others are told."""
    one = draft()
    answers: list[Pushed] = []

    async def push() -> None:
        answers.extend(await store.push(one))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(push)

    stored = [answer for answer in answers if answer.duplicate is None]
    equal(len(stored), 1, "the number of callers that stored it")
    equal({answer.id for answer in answers}, {one.id}, "the ids answered")
    equal(len(await store.claim()), 1, "the number of tasks claimed")


@rule()
async def an_ended_task_is_still_a_duplicate(store: Store) -> None:
    """Pushing the id of a task that has ended, however it ended, changes nothing."""
    for name, ending in ENDINGS.items():
        lease = await store.running()
        await store.settle(ends(lease, ending))

        answers = await store.push(draft(payload=b"second")._replace(id=lease.id))

        ended = Status[name.upper()]
        equal(answers, [Pushed(lease.id, ended)], f"the answer to a push after {name}")
        equal((await store.read(lease.id)).payload, b"1", "the payload")


@rule()
async def fetch_answers_in_order(store: Store) -> None:
    """One answer per id, also for ids that are not there and ids asked for twice."""
    one, two = draft(), draft()
    await store.push(one, two)

    records = await store.storage.fetch([two.id, new_id(), one.id, two.id])

    found = [record and record.id for record in records]
    equal(found, [two.id, None, one.id, two.id], "the ids of the records")


@rule()
async def a_delayed_task_is_scheduled(store: Store) -> None:
    """A delay counts from the store's clock, to the microsecond."""
    one = draft(delay=90.000001)

    await store.push(one)
    record = await store.read(one.id)

    equal(record.status, Status.SCHEDULED, "the state")
    wanted = store.clock.now + timedelta(seconds=90, microseconds=1)
    equal(record.due_at, wanted, "due_at")


@rule()
async def an_instant_wins_over_a_delay(store: Store) -> None:
    """A task for an instant is due then; one for the past is due at once, with that due time."""
    now = store.clock.now
    future = draft(at=now + timedelta(days=400, microseconds=3), delay=1.0)
    present, past = draft(at=now, delay=1.0), draft(at=now - timedelta(days=1), delay=1.0)

    await store.push(future, present, past)
    records = await store.read_all(future.id, present.id, past.id)

    states = [record.status for record in records]
    equal(states, [Status.SCHEDULED, Status.READY, Status.READY], "the states")
    equal([record.due_at for record in records], [future.at, now, past.at], "due_at")


@rule()
async def a_push_gives_a_hint(store: Store) -> None:
    """What may have become claimable is said to listeners in this process."""
    heard: list[None] = []

    with store.storage.pushed.listening(lambda: heard.append(None)):
        await store.push(draft())

    true(heard, "a listener of `pushed` hears of a push")


@rule()
async def an_empty_call_is_answered(store: Store) -> None:
    """Nothing to do is no error, for any operation on a list."""
    storage = store.storage

    equal(list(await storage.insert([])), [], "the answer to insert")
    equal(list(await storage.settle([])), [], "the answer to settle")
    equal(list(await storage.release([])), [], "the answer to release")
    equal(list(await storage.renew([], 30.0)), [], "the answer to renew")
    equal(list(await storage.fetch([])), [], "the answer to fetch")
    equal(list((await storage.claim(ME, {}, 1)).leases), [], "the answer to claim")


@rule()
async def many_callers_push_at_once(store: Store) -> None:
    """Concurrent pushes all arrive, each once."""
    payloads = {str(number).encode() for number in range(50)}

    async with anyio.create_task_group() as tasks:
        for payload in payloads:
            tasks.start_soon(store.push, draft(payload=payload))
    leases = await store.claim(most=100)

    equal(len(leases), 50, "the number of tasks")
    equal({lease.payload for lease in leases}, payloads, "the payloads")
    created = {from_micros(lease.created_at) for lease in leases}
    equal(created, {store.clock.now}, "the instants of creation")


@rule()
async def a_pushed_task_ends_once_done(store: Store) -> None:
    """From push to done, the way that nearly every task goes."""
    lease = await store.running(payload=b"in")

    answers = await store.settle(done(lease, b"out"))
    record = await store.read(lease.id)

    equal(answers, ["applied done"], "the answer")
    equal((record.status, record.payload, record.result), (Status.DONE, b"in", b"out"), "the task")


@rule()
async def bytes_come_back_as_they_were(store: Store) -> None:
    """A backend never looks into payload or result: any bytes, none, and many come back."""
    for hostile in (
        b"",
        bytes(range(256)),
        b"\x00",
        b"'; --",
        b'{"a": NaN',
        b"\xed\xa0\x80" * 40_000,
    ):
        lease = await store.running(payload=hostile)
        await store.settle(done(lease, hostile))
        record = await store.read(lease.id)

        what = f"of {len(hostile)} bytes that begin with {hostile[:4]!r}"
        true(lease.payload == hostile, f"a lease has the payload {what}")
        true(record.payload == hostile, f"a record has the payload {what}")
        true(record.result == hostile, f"a record has the result {what}")


@rule()
async def text_comes_back_as_it_was(store: Store) -> None:
    """Metadata, queue, name and codec are text of any script, quotes and wildcards included."""
    hostile = "'; DROP TABLE task; -- \"%_*[a]?\\ é e\u0301 \N{SNOWMAN} \U0001f600 {}:"
    await store.push(draft(queue=hostile, name=hostile, codec=hostile, metadata={hostile: hostile}))

    leases = await store.claim(Claimant(hostile, hostile), names=[hostile])
    equal(len(leases), 1, "the number of tasks claimed")
    record = await store.read(leases[0].id)

    for one in (leases[0], record):
        texts = {one.queue, one.name, one.codec, *one.metadata, *one.metadata.values()}
        equal(texts, {hostile}, "the texts")
    equal(record.owner, hostile, "the owner")


@rule()
async def a_time_beyond_the_calendar_is_its_end(store: Store) -> None:
    """A task may be due in the year 9999, and never when its delay goes beyond that."""
    last = datetime.max.replace(tzinfo=UTC)
    at_last, later = draft(at=last, expires_at=last), draft(delay=1e12)
    lease = await store.running()

    await store.push(at_last, later)
    answers = await store.settle(ends(lease, Retry(FAILURE, 1e12)))
    records = await store.read_all(at_last.id, later.id, lease.id)

    equal(answers, ["applied retry"], "the answer to a retry in 30,000 years")
    equal([record.due_at for record in records], [last] * 3, "the due times")


@rule()
async def an_id_may_be_pushed_again_when_it_is_gone(store: Store) -> None:
    """A fence of the first task is worth nothing for the second."""
    lease = await store.running()
    await store.settle(done(lease))
    await store.clock.advance(store.storage.limits.keep_done)
    await store.storage.prune(10)
    await store.storage.prune(10)

    answers = await store.push(draft()._replace(id=lease.id))

    equal(answers, [Pushed(lease.id)], "the answer to the push")
    equal((await store.lease()).attempt, 1, "the attempt of its first run")
    equal(await store.settle(done(lease)), ["stale"], "the answer to a settle of the first task")
