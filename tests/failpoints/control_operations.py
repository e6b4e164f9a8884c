"""The operations by which tasks, queues and workers are controlled, on the same prepared tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layered.backend import (
    Beat,
    Cancels,
    Change,
    Dedups,
    Filter,
    Lists,
    Pauses,
    Pushed,
    Queue,
    Remembers,
    Reports,
    Requeues,
    Sees,
    Storage,
)
from layered.errors import Conflict
from layered.task import Dedup, OnConflict, Status, from_micros
from tests.failpoints.operations import Fences, Operation, draft, task

SOON = from_micros(1_700_005_000_000_000)
"""Later than the prepared tasks, and earlier than they have to end."""


async def cancel(storage: Storage[Any], _: Fences) -> object:
    """Cancel a task in each state: it runs, was asked before, is ready, is to come, has ended."""
    assert isinstance(storage, Cancels)
    return await storage.cancel([task(number) for number in (20, 28, 35, 31, 3, 99)])


async def requeue(storage: Storage[Any], _: Fences) -> object:
    """Requeue a dead task whose key another had since, one whose key is held, and a done one."""
    assert isinstance(storage, Requeues)
    return await storage.requeue([task(number) for number in (4, 5, 3)])


async def insert_keyed(storage: Storage[Any], _: Fences) -> object:
    """Push with a key that is new, held, held but given way, and free again."""
    return await storage.insert(
        [
            draft(103, dedup=Dedup("new", OnConflict.REJECT, 60.0)),
            draft(104, dedup=Dedup("held")),
            draft(105, payload=b"22", delay=60.0, dedup=Dedup("held", OnConflict.REPLACE)),
            draft(106, dedup=Dedup("free")),
        ]
    )


async def insert_refused(storage: Storage[Any], _: Fences) -> object:
    """Push two tasks, the second with a key that is held."""
    try:
        return await storage.insert(
            [draft(107), draft(108, dedup=Dedup("held", OnConflict.REJECT))]
        )
    except Conflict:
        return "refused"


async def pause(storage: Storage[Any], _: Fences) -> object:
    """Pause the queue of the tasks, for a while."""
    assert isinstance(storage, Pauses)
    return await storage.pause("default", SOON)  # type: ignore[func-returns-value] # as `check`


async def resume(storage: Storage[Any], _: Fences) -> object:
    """Resume a queue that was paused."""
    assert isinstance(storage, Pauses)
    return await storage.resume("paused")  # type: ignore[func-returns-value] # as `check`


async def queues(storage: Storage[Any], _: Fences) -> object:
    """List the queues."""
    assert isinstance(storage, Pauses)
    return await storage.queues()


async def beat(storage: Storage[Any], _: Fences) -> object:
    """Give a sign of life, after others."""
    assert isinstance(storage, Sees)
    return await storage.beat(Beat("me", "default", b"[]", 5.0))  # type: ignore[func-returns-value] # as `check`


async def leave(storage: Storage[Any], _: Fences) -> object:
    """Say goodbye."""
    assert isinstance(storage, Sees)
    return await storage.leave("me")  # type: ignore[func-returns-value] # as `check`


async def workers(storage: Storage[Any], _: Fences) -> object:
    """List the workers."""
    assert isinstance(storage, Sees)
    return [(worker.owner, worker.alive) for worker in await storage.workers()]


async def progress(storage: Storage[Any], fences: Fences) -> object:
    """Tell how far a run has come."""
    assert isinstance(storage, Reports)
    return await storage.progress(fences[task(20)], b"half")


async def checkpoint(storage: Storage[Any], fences: Fences) -> object:
    """Keep what a step came to, in a run that has none and in one that has."""
    assert isinstance(storage, Remembers)
    return [await storage.checkpoint(fences[task(number)], "step", b"2") for number in (20, 21)]


async def checkpoints(storage: Storage[Any], _: Fences) -> object:
    """Read the steps of a task."""
    assert isinstance(storage, Remembers)
    return await storage.checkpoints(task(4))


async def holder(storage: Storage[Any], _: Fences) -> object:
    """Ask who holds a key."""
    assert isinstance(storage, Dedups)
    return await storage.holder("default", "held")


async def page(storage: Storage[Any], _: Fences) -> object:
    """List the newest two tasks of a name."""
    assert isinstance(storage, Lists)
    found = await storage.page(Filter(names=["other"]), None, 1)
    return [one.id for one in found.tasks], found.after


def left(number: int, status: Status | None) -> Change:
    """Make the answer for a task that was left as it was."""
    return Change(task(number), status, changed=False)


def made(number: int, status: Status) -> Change:
    """Make the answer for a task that was changed."""
    return Change(task(number), status, changed=True)


S = Status
HINDERED = Change(task(5), S.CANCELLED, changed=False, holder=task(37))
QUEUES = [Queue("default"), Queue("paused", paused=True)]
SEEN = [("me", True), ("you", True)]
NEWEST = ([task(37)], task(37))

CONTROL: Mapping[str, Operation] = {
    "cancel": Operation(
        cancel,
        [
            made(20, S.RUNNING),
            left(28, S.RUNNING),
            made(35, S.CANCELLED),
            made(31, S.CANCELLED),
            left(3, S.DONE),
            left(99, None),
        ],
        [
            left(20, S.RUNNING),
            left(28, S.RUNNING),
            left(35, S.CANCELLED),
            left(31, S.CANCELLED),
            left(3, S.DONE),
            left(99, None),
        ],
    ),
    "requeue": Operation(
        requeue,
        [made(4, S.READY), HINDERED, left(3, S.DONE)],
        [left(4, S.READY), HINDERED, left(3, S.DONE)],
    ),
    "insert with keys": Operation(
        insert_keyed,
        [
            Pushed(task(103)),
            Pushed(task(37), S.READY),
            Pushed(task(37), S.SCHEDULED, replaced=True),
            Pushed(task(106)),
        ],
        [
            Pushed(task(103), S.READY),
            Pushed(task(37), S.SCHEDULED),
            Pushed(task(37), S.SCHEDULED, replaced=True),
            Pushed(task(106), S.READY),
        ],
    ),
    "insert, refused": Operation(insert_refused, "refused", "refused", parts=0),
    "pause": Operation(pause, None, None),
    "resume": Operation(resume, None, None),
    "queues": Operation(queues, QUEUES, QUEUES),
    "beat": Operation(beat, None, None),
    "leave": Operation(leave, None, None),
    "workers": Operation(workers, SEEN, SEEN),
    "progress": Operation(progress, True, True),
    "checkpoint": Operation(checkpoint, [b"2", b"1"], [b"2", b"1"], parts=2),
    "checkpoints": Operation(checkpoints, {"step": b"1"}, {"step": b"1"}),
    "holder": Operation(holder, task(37), task(37)),
    "page": Operation(page, NEWEST, NEWEST),
}
