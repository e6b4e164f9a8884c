"""Dedup keys, as they are given to `push`; what storages make of them is in their suite."""

from typing import Any

import pytest

from layered import (
    Conflict,
    Dedup,
    MemoryStorage,
    Middleware,
    OnConflict,
    Pushed,
    PushRefused,
    Status,
    Task,
)


async def test_push_with_a_held_key_answers_the_task_that_is_there() -> None:
    """A key alone keeps it."""
    storage = MemoryStorage(str)
    first = await storage.push("a", dedup="key")

    again = await storage.push("b", dedup="key")
    other = await storage.push("b", dedup="other")

    assert again == Pushed(first.id, Status.READY)
    assert other.duplicate is None
    record = await storage.get(first.id)
    assert record is not None
    assert (record.payload, record.dedup_key) == (b'"a"', "key")


async def test_push_says_what_becomes_of_a_held_key() -> None:
    """Refuse it, or put the new arguments in place of the old."""
    storage = MemoryStorage(str)
    first = await storage.push("a", dedup="key")

    with pytest.raises(Conflict):
        await storage.push("b", dedup=Dedup("key", OnConflict.REJECT))
    replaced = await storage.push("c", dedup=Dedup("key", OnConflict.REPLACE), delay=60)

    assert replaced == Pushed(first.id, Status.SCHEDULED, replaced=True)
    record = await storage.get(first.id)
    assert record is not None
    assert record.payload == b'"c"'


async def test_key_goes_through_layers_around_the_push() -> None:
    """They see the task before it is stored, and the answer after."""
    seen: list[object] = []

    class Watch(Middleware[Task[Any], Any]):
        async def call(self, request: Task[Any], /) -> Any:
            seen.append(await self.inner.call(request))
            return seen[-1]

    storage = MemoryStorage(str, layers=[Watch])
    first = await storage.push("a", dedup="key")

    again = await storage.push("b", dedup="key")

    assert seen == [Pushed(first.id), again]
    assert again == Pushed(first.id, Status.READY)


async def test_key_is_refused_by_a_storage_that_keeps_none() -> None:
    """Storing the task without it would be worse than an error."""

    class Plain(MemoryStorage[str]):
        holder = None  # type: ignore[assignment]  # lacks the capability

    storage = Plain(str)

    with pytest.raises(PushRefused, match=r"pushing task 'str': MemoryStorage.* keeps no dedup"):
        await storage.push("a", dedup="key")

    assert await storage.counts("default") == {}
