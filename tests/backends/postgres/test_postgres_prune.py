"""The walk of PostgreSQL's prune."""

from typing import Any

import pytest

from layered.backend import Limits
from layered.backends.postgres import PostgresStorage, prune
from layered.task import Draft

LIMITS = Limits(keep_done=0.0, keep_dead=0.0, tombstone=0.0)


def id_of(number: int) -> str:
    """Make the id of this number."""
    return f"00000000-0000-0000-0000-{number:012x}"


async def ended(storage: PostgresStorage[Any], count: int) -> list[str]:
    """Push and cancel tasks, from the least id on."""
    ids = [id_of(number) for number in range(count)]
    await storage.insert([Draft(each, "default", "a", b"1") for each in ids])
    await storage.cancel(ids)
    return ids


async def test_postgres_prune_removes_the_least_id_there_is(storage: PostgresStorage[Any]) -> None:
    """The walk begins with it, not behind it: a user may push under any id."""
    (least,) = await ended(storage, 1)
    storage.limits = LIMITS

    assert await storage.prune(10) == 1

    assert await storage.fetch([least]) == [None]


async def test_postgres_prune_walks_in_steps_to_the_end(
    storage: PostgresStorage[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few rows a step looks at, none is left out between two of them."""
    monkeypatch.setattr(prune, "_STEP", 3)
    ids = await ended(storage, 10)
    storage.limits = LIMITS

    changed = [await storage.prune(4) for _ in range(4)]

    assert changed == [4, 4, 2, 0]
    assert await storage.fetch(ids) == [None] * 10
