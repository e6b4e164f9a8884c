"""`Inspector`: looking at a store and steering it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from layered import (
    Change,
    Conflict,
    Filter,
    Incapable,
    Inspector,
    Limits,
    MemoryStorage,
    Page,
    Queue,
    SqliteStorage,
    Status,
    WorkerInfo,
    WrongState,
)
from layered.backend import (
    SCANNED,
    About,
    Beat,
    Claimant,
    Dead,
    Done,
    Ending,
    Failure,
    Settle,
    Sighting,
    inspector as module,
)

NOBODY = "01a20a50-3774-7275-88da-68529aac2d3e"


async def end(storage: MemoryStorage[Any], ending: Ending, most: int = 1) -> None:
    """Claim up to *most* tasks and end them."""
    claimed = await storage.claim(Claimant("default", "us"), {"str": most}, most)
    await storage.settle([Settle(lease.fence, ending, 1) for lease in claimed.leases])


DEAD = Dead(Failure("OSError", "gone"))


@pytest.fixture
def storage() -> MemoryStorage[str]:
    """Give an empty storage."""
    return MemoryStorage(str)


@pytest.fixture
def inspector(storage: MemoryStorage[str]) -> Inspector:
    """Give its inspector."""
    return Inspector(storage)


async def test_tasks_go_through_all_pages_the_newest_first(
    storage: MemoryStorage[str], inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, and whether a page is full, short or empty."""
    pushed = [await storage.push(str(n), priority=n) for n in range(9)]
    monkeypatch.setattr(module, "BATCH", 2)

    every = [task.id async for task in inspector.tasks()]
    last = [task.priority async for task in inspector.tasks(Filter(names=["str"]))][-1]
    none = [task async for task in inspector.tasks(Filter(queue="other"))]

    assert every == [one.id for one in reversed(pushed)]
    assert (last, none) == (0, [])


async def test_tasks_go_on_after_a_page_on_which_nothing_was_found(
    inspector: Inspector, monkeypatch: pytest.MonkeyPatch, storage: MemoryStorage[str]
) -> None:
    """A page looks at a bounded number of rows: an empty one is not the end."""
    await storage.push("hello")
    (found,) = [task async for task in inspector.tasks()]
    pages = {None: Page([], "b"), "b": Page([found], "a"), "a": Page([], None)}
    asked: list[str | None] = []

    async def page(wanted: Filter, after: str | None, limit: int) -> Page:
        asked.append(after)
        return pages[after]

    monkeypatch.setattr(storage, "page", page)

    tasks = [task async for task in inspector.tasks()]

    assert (tasks, asked) == ([found], [None, "b", "a"])


async def test_page_is_as_long_as_was_asked_for(
    storage: MemoryStorage[str], inspector: Inspector
) -> None:
    """And says where the next one begins."""
    pushed = [(await storage.push(str(n))).id for n in range(3)]

    first = await inspector.page(limit=2)
    rest = await inspector.page(after=first.after, limit=2)

    assert [task.id for task in first.tasks] == [pushed[2], pushed[1]]
    assert ([task.id for task in rest.tasks], rest.after) == ([pushed[0]], None)
    with pytest.raises(ValueError, match="limit must be 1 or more, got 0"):
        await inspector.page(limit=0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"names": "str"}, "'names' must be a list, got 'str'; put it in one"),
        ({"statuses": Status.DEAD}, "'statuses' must be a list, got <Status.DEAD: 6>"),
    ],
    ids=["names", "statuses"],
)
def test_filter_takes_lists(wrong: dict[str, Any], told: str) -> None:
    """A text would be taken for a list of its letters."""
    with pytest.raises(TypeError, match=told):
        Filter(**wrong)


def test_filter_takes_aware_instants() -> None:
    """An instant without a time zone is another one elsewhere."""
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - naive on purpose

    with pytest.raises(ValueError, match="has no time zone"):
        Filter(since=naive)
    with pytest.raises(ValueError, match="has no time zone"):
        Filter(until=naive)
    Filter(since=naive.replace(tzinfo=UTC), until=naive.replace(tzinfo=UTC))


@pytest.mark.parametrize("wrong", [{"queue": "a\0"}, {"names": ["\ud800"]}, {"error": "a\nb"}])
def test_filter_refuses_what_no_store_has(wrong: dict[str, Any]) -> None:
    """Some stores cannot even ask for such a text."""
    with pytest.raises(ValueError, match="must have no control characters"):
        Filter(**wrong)


async def test_cancel_says_what_became_of_the_task(
    storage: MemoryStorage[str], inspector: Inspector
) -> None:
    """One that has ended is no error: it does not run again, as was wanted."""
    pushed = await storage.push("hello")

    first = await inspector.cancel(pushed.id.upper())
    again = await inspector.cancel(pushed.id)

    assert first == Change(pushed.id, Status.CANCELLED, changed=True)
    assert again == Change(pushed.id, Status.CANCELLED, changed=False)
    with pytest.raises(KeyError, match=f"cancelling task {NOBODY}: the store has no such task"):
        await inspector.cancel(NOBODY)


async def test_requeue_makes_a_dead_task_ready(
    storage: MemoryStorage[str], inspector: Inspector
) -> None:
    """Repeating it, as after an answer that was lost, changes nothing."""
    pushed = await storage.push("hello")
    await end(storage, DEAD)

    first = await inspector.requeue(pushed.id)
    again = await inspector.requeue(pushed.id)

    assert first == Change(pushed.id, Status.READY, changed=True)
    assert again == Change(pushed.id, Status.READY, changed=False)
    with pytest.raises(KeyError, match=f"requeueing task {NOBODY}: the store has no such task"):
        await inspector.requeue(NOBODY)


async def test_requeue_of_a_done_task_is_refused(
    storage: MemoryStorage[str], inspector: Inspector
) -> None:
    """It will not run, so the caller has to know."""
    pushed = await storage.push("hello")
    await end(storage, Done(None))

    with pytest.raises(WrongState, match=f"requeueing task {pushed.id}: it is done; push it anew"):
        await inspector.requeue(pushed.id)


@pytest.mark.virtual_time
async def test_requeue_of_a_task_whose_arguments_are_gone_is_refused() -> None:
    """A tombstone has nothing to run with."""
    storage = MemoryStorage(str, limits=Limits(keep_dead=10, tombstone=1000))
    pushed = await storage.push("hello")
    await end(storage, DEAD)
    await anyio.sleep(20)
    await storage.prune(10)

    with pytest.raises(WrongState, match="its arguments are not kept any more; push it anew"):
        await Inspector(storage).requeue(pushed.id)


async def test_requeue_of_a_task_whose_key_is_held_is_a_conflict(
    storage: MemoryStorage[str], inspector: Inspector
) -> None:
    """Two live tasks of one key is what it is there to prevent."""
    dead = await storage.push("hello", dedup="key")
    await end(storage, DEAD)
    live = await storage.push("hello", dedup="key")

    with pytest.raises(Conflict, match=f"task {live.id} holds its dedup key"):
        await inspector.requeue(dead.id)


async def test_cancel_all_cancels_what_is_live_and_matches(
    storage: MemoryStorage[str], inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page; the answer counts what was changed."""
    monkeypatch.setattr(module, "BATCH", 2)
    done, running = await storage.push("a"), await storage.push("b")
    await end(storage, Done(None))
    await storage.claim(Claimant("default", "us"), {"str": 1}, 1)
    waiting = [(await storage.push("c", delay=delay)).id for delay in (0, 5, 5)]

    scheduled = await inspector.cancel_all(Filter(statuses=[Status.SCHEDULED]))
    rest = await inspector.cancel_all(Filter(queue="default"))
    again = await inspector.cancel_all(Filter(queue="default"))

    records = await storage.fetch([done.id, running.id, *waiting])
    assert (scheduled, rest, again) == (2, 2, 0)
    assert [one.status for one in records if one] == [
        Status.DONE,
        Status.RUNNING,
        *[Status.CANCELLED] * 3,
    ]


async def test_cancel_all_asks_for_each_task_once_in_bounded_writes(
    storage: MemoryStorage[str], inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write of a million ids would hold up every other."""
    many = [one.id for one in await storage.push_many(["hello"] * (2 * module.BATCH + 1))]
    asked: list[Sequence[str]] = []
    real = storage.cancel

    async def cancel(ids: Sequence[str]) -> Sequence[Change]:
        asked.append(ids)
        await storage.push("pushed meanwhile")
        return await real(ids)

    monkeypatch.setattr(storage, "cancel", cancel)

    changed = await inspector.cancel_all(Filter())

    assert changed == len(many)
    assert sorted(one for ids in asked for one in ids) == sorted(many)
    assert max(map(len, asked)) <= module.BATCH <= SCANNED


async def test_requeue_all_leaves_cancelled_tasks_unless_they_are_named(
    storage: MemoryStorage[str], inspector: Inspector
) -> None:
    """Somebody wanted them not to run; the others have only failed."""
    await storage.push_many(["hello"] * 3)
    await end(storage, DEAD, most=3)
    cancelled = await storage.push("hello")
    await inspector.cancel(cancelled.id)

    others = await inspector.requeue_all(Filter(error="ValueError"))
    dead = await inspector.requeue_all(Filter(queue="default"))
    named = await inspector.requeue_all(Filter(statuses=[Status.CANCELLED]))

    assert (others, dead, named) == (0, 3, 1)
    assert await inspector.counts() == {"str": {Status.READY: 4}}


async def test_queues_are_paused_and_resumed_the_own_one_by_default(
    inspector: Inspector,
) -> None:
    """Until an instant, or until somebody resumes them."""
    until = datetime.now(UTC).replace(microsecond=5) + timedelta(hours=1)

    await inspector.pause()
    await inspector.pause("mail", until=until)
    paused = await inspector.queues()
    await inspector.resume()
    await inspector.resume("mail")
    resumed = await inspector.queues()

    assert paused == [Queue("default", paused=True), Queue("mail", paused=True, until=until)]
    assert [one.paused for one in resumed] == [False, False]
    with pytest.raises(ValueError, match="has no time zone"):
        await inspector.pause(until=datetime(2026, 1, 1))  # noqa: DTZ001 - naive on purpose
    with pytest.raises(ValueError, match="queue must be a text of 1 to 200 characters"):
        await inspector.pause("")


async def test_counts_are_of_the_own_queue_unless_another_is_named(
    storage: MemoryStorage[str], inspector: Inspector
) -> None:
    """By name and state."""
    await storage.push_many(["hello"] * 2)

    assert await inspector.counts() == {"str": {Status.READY: 2}}
    assert await inspector.counts("mail") == {}


async def test_worker_that_tells_nothing_readable_is_listed_all_the_same(
    storage: MemoryStorage[str], inspector: Inspector
) -> None:
    """It may be of a newer version, or of a program in another language."""
    newer = b'{"name":"mail","in_flight":3,"mood":"good"}'
    for owner, about in (("a", newer), ("b", b"\xff"), ("c", b'{"stack":5}')):
        await storage.beat(Beat(owner, "default", about, 10.0))

    told = await inspector.workers()

    assert [(one.owner, one.name, one.in_flight, one.alive) for one in told] == [
        ("a", "mail", 3, True),
        ("b", "", 0, True),
        ("c", "", 0, True),
    ]
    assert [one.queue for one in told] == ["default"] * 3
    assert told[0].seen_at.tzinfo is UTC


def test_what_a_worker_tells_is_read_as_it_was_told() -> None:
    """Through the bytes that are stored."""
    about = About(name="mail", tasks=["Email"], stack=["A", "b"], started_at=datetime.now(UTC))

    info = WorkerInfo.of(Sighting("us", "default", about.encoded(), datetime.now(UTC), alive=False))

    assert (info.name, info.tasks, info.stack) == ("mail", ["Email"], ["A", "b"])
    assert (info.started_at, info.owner, info.alive) == (about.started_at, "us", False)


async def test_progress_of_no_task_is_a_key_error(inspector: Inspector) -> None:
    """`None` says that a task has told nothing yet."""
    with pytest.raises(KeyError, match=f"the progress of task {NOBODY}: the store has no such"):
        await inspector.progress(NOBODY, float)


@pytest.mark.virtual_time
async def test_prune_removes_all_that_is_past_its_retention() -> None:
    """In batches, and the answer is their sum."""
    storage = MemoryStorage(str, limits=Limits(keep_done=10, tombstone=10))
    many = 2 * module.BATCH + 1
    await storage.push_many(["hello"] * many)
    await end(storage, Done(None), most=many)
    before = await Inspector(storage).prune()
    await anyio.sleep(20)

    after = await Inspector(storage).prune()

    assert (before, after) == (0, many)
    assert await Inspector(storage).counts() == {}


async def test_get_reads_one_task(storage: MemoryStorage[str], inspector: Inspector) -> None:
    """All of it."""
    pushed = await storage.push("hello")

    record = await inspector.get(pushed.id)

    assert record is not None
    assert record.payload == b'"hello"'
    assert await inspector.get(NOBODY) is None
    assert repr(inspector) == "Inspector(MemoryStorage(str, queue='default'))"


async def test_storage_without_a_capability_is_refused_in_words() -> None:
    """The message names the operation, the storage and what it lacks."""

    class Plain(MemoryStorage[str]):
        page = cancel = requeue = pause = resume = workers = None  # type: ignore[assignment]

    inspector = Inspector(Plain(str))
    refused: dict[str, Any] = {
        "listing tasks: .* 'Lists'": inspector.page,
        "cancelling a task: .* 'Cancels'": lambda: inspector.cancel(NOBODY),
        "requeueing a task: .* 'Requeues'": lambda: inspector.requeue(NOBODY),
        "cancelling tasks: .* 'Cancels'": lambda: inspector.cancel_all(Filter()),
        "requeueing tasks: .* 'Requeues'": lambda: inspector.requeue_all(Filter()),
        "pausing a queue: .* 'Pauses'": inspector.pause,
        "resuming a queue: .* 'Pauses'": inspector.resume,
        "listing queues: .* 'Pauses'": inspector.queues,
        "listing workers: .* 'Sees'": inspector.workers,
    }

    for told, operation in refused.items():
        with pytest.raises(Incapable, match=told) as raised:
            await operation()
        assert "MemoryStorage(str, queue='default') cannot do that" in str(raised.value)


async def test_inspector_steers_a_file(tmp_path: Any) -> None:
    """The same on SQLite, which other processes read."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        inspector = Inspector(storage)
        pushed = await storage.push("hello")

        cancelled = await inspector.cancel(pushed.id)
        await inspector.pause()

        assert cancelled == Change(pushed.id, Status.CANCELLED, changed=True)
        assert await inspector.queues() == [Queue("default", paused=True)]
        assert [task.id async for task in inspector.tasks()] == [pushed.id]
