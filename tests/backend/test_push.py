"""Pushing: what is refused before anything is stored, and what layers around it see."""

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from layered import (
    Dedup,
    Kind,
    Limits,
    MemoryStorage,
    Middleware,
    Pushed,
    PushRefused,
    RetryLayer,
    Status,
    Task,
    Transient,
)


async def test_push_answers_the_id_and_stores_the_task() -> None:
    """The id is there before any worker is."""
    storage = MemoryStorage(str)

    pushed = await storage.push("hello", priority=9, metadata={"tenant": "a"}, max_attempts=2)

    record = await storage.get(pushed.id)
    assert record is not None
    assert pushed == Pushed(record.id, None)
    assert (record.status, record.payload, record.priority) == (Status.READY, b'"hello"', 9)
    assert (record.metadata, record.max_attempts) == ({"tenant": "a"}, 2)


async def test_push_of_the_same_id_stores_nothing_and_says_so() -> None:
    """A push whose answer was lost can be repeated."""
    storage = MemoryStorage(str)
    first = await storage.push("hello")

    again = await storage.push("other", id=first.id.upper())

    assert again == Pushed(first.id, Status.READY)
    record = await storage.get(first.id)
    assert record is not None
    assert record.payload == b'"hello"'


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"priority": 10}, r"priority must be 0 to 9, got 10"),
        ({"priority": -1}, r"priority must be 0 to 9, got -1"),
        ({"delay": -1}, r"delay must be 0 or more seconds, got -1"),
        ({"delay": float("nan")}, r"delay must be 0 or more seconds, got nan"),
        ({"priority": 5.0}, r"priority must be 0 to 9, got 5.0"),
        ({"delay": 10**400}, r"delay must be 0 or more seconds, got 1000"),
        ({"max_attempts": 0}, r"max_attempts must be a whole number, 1 to 2147483647, got 0"),
        ({"max_attempts": 1.5}, r"max_attempts must be a whole number, 1 to 2147483647, got 1.5"),
        ({"max_attempts": 10**400}, r"max_attempts must be a whole number"),
        ({"max_lost": 0}, r"max_lost must be a whole number, 1 to 2147483647, got 0"),
        ({"max_lost": 10**30}, r"max_lost must be a whole number, 1 to 2147483647, got 1000"),
        ({"metadata": {"a": 1}}, r"metadata must be a mapping of text to text, got \{'a': 1\}"),
        ({"id": "42"}, r"a task id must be a UUID, got '42'; pass a UUID"),
        ({"id": 42}, r"a task id must be a UUID, got 42"),
        ({"delay": "5"}, r"delay must be 0 or more seconds, got '5'"),
        ({"metadata": "a"}, r"metadata must be a mapping of text to text, got 'a'"),
        ({"max_lost": "2"}, r"max_lost must be a whole number, 1 to 2147483647, got '2'"),
        ({"at": 1.5}, r"at must be an aware datetime, such as datetime.now\(UTC\), got 1.5"),
        ({"at": datetime(2026, 1, 1)}, r"no time zone"),  # noqa: DTZ001 - naive on purpose
        ({"expires_at": datetime(2026, 1, 1)}, r"no time zone"),  # noqa: DTZ001 - naive on purpose
        ({"dedup": ""}, r"dedup key must be a text of 1 to 200 characters, got ''"),
        ({"dedup": 5}, r"dedup key must be a text of 1 to 200 characters, got 5"),
        ({"dedup": "k" * 201}, r"dedup key must have at most 200 characters, got 201"),
        ({"dedup": Dedup("a\nb")}, r"dedup key must have no control characters"),
        ({"dedup": Dedup("k", window=-1)}, r"dedup window must be 0 or more seconds, got -1"),
        ({"dedup": Dedup("k", window=float("inf"))}, r"dedup window must be .*, got inf"),
        ({"dedup": ("k", "keep")}, r"dedup key must be a text"),
        (
            {"dedup": Dedup("k", "keep")},  # type: ignore[arg-type] # wrong on purpose
            r"dedup must have an OnConflict such as OnConflict.KEEP, got 'keep'",
        ),
        ({"dely": 5}, r"unknown option 'dely'; known are at, dedup, delay, expires_at, id"),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict) else "",
)
async def test_push_refuses_a_wrong_option_and_stores_nothing(
    options: dict[str, Any], told: str
) -> None:
    """The message names the task, what was got, and what is wanted."""
    storage = MemoryStorage(str)

    with pytest.raises(PushRefused, match=told) as raised:
        await storage.push("hello", **options)

    assert "pushing task 'str'" in str(raised.value)
    assert await storage.counts("default") == {}


async def test_push_refuses_arguments_that_are_too_large_or_do_not_encode() -> None:
    """The limit is on what would be stored."""
    storage = MemoryStorage(list[object], limits=Limits(payload=10))

    with pytest.raises(PushRefused, match="take 12 bytes, the limit is 10; store large data"):
        await storage.push(["12345678"])
    with pytest.raises(PushRefused, match=r"encoding the arguments of task .* failed"):
        await storage.push([object()])

    assert await storage.counts("default") == {}


async def test_push_many_is_all_or_nothing() -> None:
    """One refusal refuses all, before anything is stored."""
    storage: MemoryStorage[Any] = MemoryStorage(int)

    with pytest.raises(PushRefused, match="takes int, got str"):
        await storage.push_many([1, 2, "three"])
    with pytest.raises(PushRefused, match="takes no 'id'"):
        await storage.push_many([1], id="01a20a50-3774-7275-88da-68529aac2d3e")
    with pytest.raises(PushRefused, match="takes no 'dedup'"):
        await storage.push_many([1], dedup="key")

    assert await storage.counts("default") == {}
    assert await storage.push_many([]) == []


@pytest.mark.parametrize("ids", ["01a20a50-3774-7275-88da-68529aac2d3e", 42])
async def test_wait_for_refuses_what_is_no_list(ids: Any) -> None:
    """One id is not taken for a list of characters."""
    with pytest.raises(TypeError, match=r"pass a list of ids, such as \[pushed.id\]"):
        await MemoryStorage(int).wait_for(ids)


async def test_get_of_what_was_pushed_names_the_way_out() -> None:
    """What `push` answers has the id, and is none."""
    storage: MemoryStorage[Any] = MemoryStorage(int)
    pushed: Any = await storage.push(1)

    with pytest.raises(ValueError, match=r"must be a UUID, got Pushed.*; pass its 'id'"):
        await storage.get(pushed)


def test_storage_refuses_a_layer_that_is_in_no_list() -> None:
    """The message says what to put around it."""
    layer: Any = RetryLayer(3)

    with pytest.raises(TypeError, match="MemoryStorage: 'layers' must be a list, got RetryLayer"):
        MemoryStorage(int, layers=layer)


def test_storage_refuses_a_queue_that_is_no_name() -> None:
    """A queue's name is checked before anything is pushed to it."""
    with pytest.raises(PushRefused, match="queue must have no control characters"):
        MemoryStorage(int, queue="a\tb")


@pytest.mark.virtual_time
async def test_delay_and_instant_decide_when_a_task_is_due() -> None:
    """Durations count from the push; an instant wins over a delay."""
    storage = MemoryStorage(int)
    instant = datetime.now(UTC) + timedelta(days=1)

    later = await storage.push(1, delay=timedelta(minutes=5))
    chosen = await storage.push(2, at=instant, delay=5)

    first, second = await storage.get(later.id), await storage.get(chosen.id)
    assert first is not None
    assert second is not None
    assert first.status is second.status is Status.SCHEDULED
    assert first.due_at - first.created_at == timedelta(minutes=5)
    assert second.due_at == instant


async def test_layers_of_a_storage_wrap_each_push_and_may_change_the_arguments() -> None:
    """The request is the task before encoding; the response is what push answers."""
    seen: list[tuple[str, bool, Pushed]] = []

    class Upper(Middleware[Task[str], Pushed]):
        async def call(self, task: Task[str], /) -> Pushed:
            pushed = await self.inner.call(task.replace(task.args.upper()))
            seen.append((task.args, task.claimed, pushed))
            return pushed

    storage = MemoryStorage(str, layers=[Upper])

    first = await storage.push("hello")
    many = await storage.push_many(["a", "b"])

    assert [args for args, _, _ in seen] == ["hello", "a", "b"]
    assert [claimed for _, claimed, _ in seen] == [False] * 3
    assert [pushed for _, _, pushed in seen] == [first, *many]
    record = await storage.get(first.id)
    assert record is not None
    assert record.payload == b'"HELLO"'


@pytest.mark.virtual_time
async def test_retry_layer_around_push_rides_out_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same layer object serves both sides; around a push there is only the fast speed."""
    storage = MemoryStorage(str, layers=[RetryLayer(3, wait=lambda _: 5.0, hold=1.0)])
    insert, failures = storage.insert, [Transient("locked"), Transient("locked")]

    async def moody(drafts: Any) -> Any:
        if failures:
            raise failures.pop()
        return await insert(drafts)

    monkeypatch.setattr(storage, "insert", moody)
    pushed = await storage.push("hello")

    assert (await storage.get(pushed.id)) is not None
    assert anyio.current_time() == pytest.approx(10)


async def test_kind_names_the_task_and_its_version() -> None:
    """A renamed class finds its stored tasks."""
    storage = MemoryStorage(Kind(str, name="greeting", version=3))

    pushed = await storage.push("hello")

    record = await storage.get(pushed.id)
    assert record is not None
    assert (record.name, record.version, record.codec) == ("greeting", 3, "json")


@pytest.mark.virtual_time
async def test_wait_for_waits_for_the_last_and_never_misses_one() -> None:
    """It subscribes, then reads; unknown ids and time-outs say so."""
    storage = MemoryStorage(int)
    pushed = await storage.push(1)

    with pytest.raises(TimeoutError, match=f"task {pushed.id}: not ended within 5 s"):
        await storage.wait_for([pushed.id], timeout=5)
    with pytest.raises(TimeoutError, match="2 tasks: not ended within 0 s"):
        await storage.wait_for([pushed.id, pushed.id], timeout=0)
    with pytest.raises(KeyError, match="no such task"):
        await storage.wait_for(["01a20a50-3774-7275-88da-68529aac2d3e"])


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=False)
def test_memory_refuses_a_second_event_loop(anyio_backend: str) -> None:
    """Its events belong to one loop; a second one would hang."""
    storage = MemoryStorage(int)
    anyio.run(storage.push, 1, backend=anyio_backend)

    with pytest.raises(Exception, match="belongs to another event loop"):
        anyio.run(storage.push, 1, backend=anyio_backend)
