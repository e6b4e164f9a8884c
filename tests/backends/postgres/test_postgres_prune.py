"""The walk of PostgreSQL's prune."""

from collections.abc import AsyncIterator

import pytest

from layered.backend import Limits
from layered.backends.postgres import PostgresStorage, prune
from layered.backends.postgres.connection import Connection
from layered.task import Dedup, Draft

LIMITS = Limits(keep_done=0.0, keep_dead=0.0, tombstone=0.0)


@pytest.fixture
async def storage(postgres: str, postgres_schema: str) -> AsyncIterator[PostgresStorage[str]]:
    """Give a storage that keeps nothing that has ended."""
    async with PostgresStorage(postgres, str, schema=postgres_schema, limits=LIMITS) as storage:
        yield storage


def id_of(number: int) -> str:
    """Make the id of this number."""
    return f"00000000-0000-0000-0000-{number:012x}"


async def ended(storage: PostgresStorage[str], count: int, window: float = 0.0) -> list[str]:
    """Push and cancel tasks, from the least id on; the first holds a key as long as *window*."""
    ids = [id_of(number) for number in range(count)]
    dedups = [Dedup("key", window=window), *[None] * (count - 1)]
    await storage.insert(
        [
            Draft(each, "default", "a", b"1", dedup=dedup)
            for each, dedup in zip(ids, dedups, strict=True)
        ]
    )
    await storage.cancel(ids)
    return ids


async def test_postgres_prune_removes_the_least_id_there_is(storage: PostgresStorage[str]) -> None:
    """The walk begins with it, not behind it: a user may push under any id."""
    (least,) = await ended(storage, 1)

    assert await storage.prune(10) == 1

    assert await storage.fetch([least]) == [None]


async def test_postgres_prune_walks_in_steps_to_the_end(
    storage: PostgresStorage[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few rows a step looks at, none is left out between two of them."""
    monkeypatch.setattr(prune, "_STEP", 3)
    ids = await ended(storage, 10)

    changed = [await storage.prune(4) for _ in range(4)]

    assert changed == [4, 4, 2, 0]
    assert await storage.fetch(ids) == [None] * 10


async def test_postgres_prune_walks_past_what_has_to_stay(
    storage: PostgresStorage[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that holds its key by an open window is neither removed nor stops the walk."""
    monkeypatch.setattr(prune, "_STEP", 3)
    first, *others = await ended(storage, 10, window=3600.0)

    changed = [await storage.prune(1) for _ in range(11)]

    assert changed == [1] * 9 + [0, 0]
    assert [each is None for each in await storage.fetch([first, *others])] == [False] + [True] * 9


@pytest.mark.parametrize("held_by", ["a write", "a snapshot"])
async def test_postgres_prune_warns_of_an_old_open_transaction(
    held_by: str,
    postgres: str,
    storage: PostgresStorage[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What holds up vacuum is named, also a session that wrote something and was forgotten."""
    monkeypatch.setattr(prune, "OLD", 0.0)
    forgotten = await Connection.open(postgres, "forgotten")

    async with forgotten.together():
        if held_by == "a write":
            await forgotten.execute("CREATE TEMPORARY TABLE written ()")
        else:
            await forgotten.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await forgotten.execute("SELECT 1")
        await storage.prune(1)
    await forgotten.close()

    assert "a transaction has been open for 0 s" in caplog.text
    assert "'forgotten'" in caplog.text
