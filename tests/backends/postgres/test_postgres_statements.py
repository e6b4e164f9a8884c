"""What statements keep that no rule of the contract tells of: above all, nobody waits for a row."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from psycopg import sql

from layered.backend import APPLIED, Claimant, Done, Renew, Renewal, Settle
from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.lane import Lane
from layered.task import Draft, Status, new_id

ME = Claimant("default", "me")
OLD = datetime(2000, 1, 1, tzinfo=UTC)


@contextmanager
def locked(dsn: str, schema: str, task: str) -> Iterator[None]:
    """Lock a task, as a settle within a long transaction of a user does; nobody waits for long."""
    name = sql.Identifier(schema, "task")
    with psycopg.connect(dsn) as holder, patch.dict(Lane.run.__kwdefaults__, {"limit": 2.0}):
        holder.execute(sql.SQL("SELECT 1 FROM {} WHERE id = %s FOR UPDATE").format(name), (task,))
        yield


@pytest.fixture
async def storage(postgres: str, postgres_schema: str) -> AsyncIterator[PostgresStorage[Any]]:
    """Give an open storage in a schema of its own."""
    async with PostgresStorage[Any](postgres, str, schema=postgres_schema) as storage:
        yield storage


async def pushed(storage: PostgresStorage[Any], **fields: Any) -> list[str]:
    """Push two tasks."""
    ids = [new_id(), new_id()]
    await storage.insert([Draft(each, "default", "str", b"1", **fields) for each in ids])
    return ids


async def test_postgres_claim_leaves_a_locked_task(
    storage: PostgresStorage[Any], postgres: str, postgres_schema: str
) -> None:
    """The other one is claimed."""
    one, other = await pushed(storage)

    with locked(postgres, postgres_schema, one):
        claimed = await storage.claim(ME, {"str": 2}, 2)

    assert [lease.id for lease in claimed.leases] == [other]


async def test_postgres_claim_leaves_a_locked_task_to_be_promoted(
    storage: PostgresStorage[Any], postgres: str, postgres_schema: str
) -> None:
    """The other one is promoted and claimed."""
    one, other = await pushed(storage, delay=1e-6)

    with locked(postgres, postgres_schema, one):
        claimed = await storage.claim(ME, {"str": 2}, 2)

    assert [lease.id for lease in claimed.leases] == [other]


async def test_postgres_renew_passes_a_locked_task(
    storage: PostgresStorage[Any], postgres: str, postgres_schema: str
) -> None:
    """It is being settled, and counts as renewed; the other one is."""
    one, other = await pushed(storage)
    leases = (await storage.claim(Claimant("default", "me", lease=0.0), {"str": 2}, 2)).leases

    with locked(postgres, postgres_schema, one):
        renewed = await storage.renew([Renew(lease.fence, 1) for lease in leases], 60.0)
    reaped = await storage.reap(10)

    assert renewed == [Renewal.OK, Renewal.OK]
    assert [each.id for each in reaped] == [one]
    assert other not in {each.id for each in reaped}


async def test_postgres_reap_leaves_a_locked_task(
    storage: PostgresStorage[Any], postgres: str, postgres_schema: str
) -> None:
    """The other one is taken back."""
    one, other = await pushed(storage)
    await storage.claim(Claimant("default", "me", lease=0.0), {"str": 2}, 2)

    with locked(postgres, postgres_schema, one):
        reaped = await storage.reap(10)

    assert [each.id for each in reaped] == [other]


async def test_postgres_sweep_leaves_a_locked_task(
    storage: PostgresStorage[Any], postgres: str, postgres_schema: str
) -> None:
    """The other one has expired."""
    one, _ = await pushed(storage, expires_at=OLD)

    with locked(postgres, postgres_schema, one):
        assert await storage.prune(10) == 1


async def test_postgres_done_keeps_the_ledger(
    storage: PostgresStorage[Any], postgres: str, postgres_schema: str
) -> None:
    """Runs that were told by a renewal are not forgotten by a settle that tells of fewer."""
    await pushed(storage)
    (lease, _) = (await storage.claim(ME, {"str": 2}, 2)).leases
    await storage.renew([Renew(lease.fence, 3)], 60.0)

    answers = await storage.settle([Settle(lease.fence, Done(b"1"), 2)])
    (record,) = await storage.fetch([lease.id])

    assert answers == [APPLIED[Status.DONE]]
    assert record is not None
    assert record.attempt == 3
