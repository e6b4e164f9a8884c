"""Rules of claim: what it takes, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import anyio

from layered.backend import Claimant, Release, Retry
from layered.task import Lease, Status, from_micros
from layered.testing.conformance.backend.store import (
    FAILURE,
    LOST,
    ME,
    Store,
    draft,
    ends,
    unchanged,
)
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal, true


@rule()
async def a_claim_answers_the_whole_task(store: Store) -> None:
    """The lease has the task as it was pushed; the first run is attempt 1 in epoch 1."""
    fields = draft(
        payload=b"\xff\x00", codec="own", version=3, metadata={"k": "v"}, priority=2, max_attempts=8
    )
    await store.push(fields)

    lease = await store.lease()
    record = await store.read(lease.id)

    fence = (lease.id, lease.fence.epoch, len(lease.fence.claim_id))
    equal(fence, (fields.id, 1, 16), "id, epoch and the length of the claim id")
    named = (lease.queue, lease.name, lease.payload)
    equal(named, ("default", "a", b"\xff\x00"), "queue, name and payload")
    encoding = (lease.codec, lease.version, dict(lease.metadata))
    equal(encoding, ("own", 3, {"k": "v"}), "codec, version and metadata")
    runs = (lease.priority, lease.attempt, lease.max_attempts, lease.lost)
    equal(runs, (2, 1, 8, 0), "priority, attempt, max_attempts and lost")
    times = (from_micros(lease.due_at), from_micros(lease.created_at))
    equal(times, (store.clock.now, store.clock.now), "due_at and created_at")
    row = (record.status, record.attempt, record.epoch, record.owner)
    equal(row, (Status.RUNNING, 1, 1, "me"), "state, attempt, epoch and owner")


@rule()
async def a_running_task_is_not_claimed(store: Store) -> None:
    """A claimed task belongs to its claimant, even when its lease is over, until it is reaped."""
    await store.running(Claimant("default", "late", lease=0.0))

    equal(len(await store.claim()), 0, "the number of tasks that a second claim took")


@rule()
async def the_epoch_rises_at_each_claim(store: Store) -> None:
    """Neither a retry nor a release gives an epoch back; claim ids never repeat."""
    leases = [await store.running()]
    await store.settle(ends(leases[0], Retry(FAILURE, 0.0)))
    leases.append(await store.lease())
    await store.release(Release(leases[1].fence, 0.0, 2))
    leases.append(await store.lease())

    equal([each.fence.epoch for each in leases], [1, 2, 3], "the epochs")
    equal(len({each.fence.claim_id for each in leases}), 3, "the number of different claim ids")


@rule()
async def only_wanted_names_are_claimed(store: Store) -> None:
    """Tasks of other names and queues stay as they are, due or not, first in line or not."""
    others = [
        draft(name="other", priority=9),
        draft(name="other", delay=5.0),
        draft(queue="elsewhere", priority=9),
    ]
    wanted = draft(name="b")
    await store.push(*others, wanted)
    await store.clock.advance(10)

    leases = await store.claim()
    records = await store.read_all(*(one.id for one in others))

    equal([lease.id for lease in leases], [wanted.id], "what was claimed")
    equal([record.epoch for record in records], [0, 0, 0], "the epochs of the others")
    running = [record.name for record in records if record.status is Status.RUNNING]
    equal(running, [], "the others that run")


@rule()
async def each_name_has_its_own_limit(store: Store) -> None:
    """A claim takes no more of a name than asked for, and no more than *most* in all."""
    await store.push(*(draft(priority=9) for _ in range(5)))
    await store.push(*(draft(name="b") for _ in range(5)))

    first = (await store.storage.claim(ME, {"a": 2, "b": 10, "c": 3}, 4)).leases
    second = (await store.storage.claim(ME, {"a": 0, "b": 10}, 10)).leases

    equal([lease.name for lease in first], ["a", "a", "b", "b"], "the names claimed first")
    equal([lease.name for lease in second], ["b", "b", "b"], "the names claimed then")


@rule()
async def a_claim_says_whether_there_is_more(store: Store) -> None:
    """A full claim of a longer backlog says `more`; an empty one does not."""
    await store.push(*(draft() for _ in range(3)))

    answers = [await store.claimed(most=2) for _ in range(3)]

    equal([len(each.leases) for each in answers], [2, 1, 0], "the numbers claimed")
    true(answers[0].more, "a full claim says `more` while there are more")
    true(not answers[2].more, "an empty claim does not say `more`")


@rule()
async def nothing_is_claimed_before_it_is_due(store: Store) -> None:
    """A delayed task is claimed at its due time, not before, also if another is due."""
    await store.push(draft(delay=60.0), draft(delay=60.5))

    await store.clock.advance(59.75)
    early = await store.claim()
    await store.clock.advance(0.25)
    due = await store.claim()

    equal(len(early), 0, "the number of tasks claimed before it was due")
    equal(len(due), 1, "the number of tasks claimed when one was due")


@rule()
async def a_claim_tells_when_the_next_task_is_due(store: Store) -> None:
    """The next future task of a wanted name counts, not those of other names or queues."""
    nothing = await store.claimed()
    await store.push(draft(delay=60.0), draft(name="b", delay=30.0), draft(name="no", delay=5.0))
    await store.push(draft(queue="elsewhere", delay=1.0))

    both = await store.claimed()
    only = await store.claimed(names="a")

    equal(nothing.next_due_in, None, "next_due_in without future tasks")
    equal(both.next_due_in, 30.0, "next_due_in of both names")
    equal(only.next_due_in, 60.0, "next_due_in of one name")


@rule()
async def concurrent_claimers_share_the_tasks(store: Store) -> None:
    """Eight claimers at once: every task is claimed, none twice in one epoch."""
    await store.push(*(draft() for _ in range(200)))
    taken: list[Lease] = []

    async def take(owner: str) -> None:
        leases: Sequence[Lease] = [*await store.claim(Claimant("default", owner), 7)]
        while leases:
            taken.extend(leases)
            leases = await store.claim(Claimant("default", owner), 7)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(take, f"claimer {number}")

    equal(len(taken), 200, "the number of runs")
    equal(len({lease.id for lease in taken}), 200, "the number of tasks that run")


@rule()
async def names_and_queues_are_told_apart_exactly(store: Store) -> None:
    """Case, spaces, wildcards and composed letters make another name, and another queue."""
    texts = ["a", "A", "a ", "a%", "a*", "aa", "é", "e\u0301"]
    await store.push(*(draft(name=text) for text in texts))
    await store.push(*(draft(queue=text) for text in texts))

    by_name = [[one.name for one in await store.claim(names=[text])] for text in texts]
    queues = [Claimant(text, "me") for text in texts]
    by_queue = [[one.queue for one in await store.claim(queue)] for queue in queues]

    equal(by_name, [[text] for text in texts], "the names claimed by each name")
    equal(by_queue, [[text] for text in texts], "the queues claimed from by each queue")


@rule()
async def other_tasks_are_not_touched(store: Store) -> None:
    """A claim changes nothing of tasks of other names and queues: none is promoted or ended."""
    past = store.clock.now + timedelta(seconds=1)
    others = [
        draft(name="other", delay=1.0),
        draft(name="other", expires_at=past),
        draft(queue="elsewhere", delay=1.0),
        draft(queue="elsewhere", expires_at=past),
    ]
    await store.push(draft(), *others)
    await store.clock.advance(10)
    before = await store.read_all(*(one.id for one in others))

    await store.lease()
    now = await store.read_all(*(one.id for one in others))

    for was, found in zip(before, now, strict=True):
        unchanged(was, found, "a claim of another name or queue")


@rule()
async def a_task_runs_no_more_often_than_max_attempts(store: Store) -> None:
    """Failures, and workers that are lost, count; runs that were released do not."""
    lease = await store.running(max_attempts=3, max_lost=9)
    await store.release(Release(lease.fence, 0.0, 1))
    lease = await store.lease()
    await store.settle(ends(lease, Retry(FAILURE, 0.0), 1))
    lease = await store.lease(LOST)
    await store.reap()
    await store.clock.advance(60)
    lease = await store.lease()

    last = await store.settle(ends(lease, Retry(FAILURE, 0.0), lease.attempt))

    equal((lease.attempt, lease.fence.epoch), (3, 4), "attempt and epoch of the last run")
    equal(last, ["applied dead"], "the answer to its retry")
    equal(len(await store.claim()), 0, "the number of tasks claimed after it")
