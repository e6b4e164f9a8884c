"""`settle_in` where the connection is lost: what is known is told, and nothing happens twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest

from layered import BackendBroken, Status, Transient
from layered.backend import ALREADY, APPLIED
from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.lane import Lane
from layered.task import Lease
from tests.backends.postgres.place import Place
from tests.backends.postgres.test_postgres_settle_in import (
    claimed,
    done,
    found,
    running,
    writing,
)
from tests.backends.postgres.theirs import ENDED_BY_US
from tests.servers.proxy import Proxy, named, proxied

OURS = named("layered effect")


@pytest.fixture
def place(postgres: str, postgres_schema: str) -> Place:
    """Give a place."""
    return Place(postgres, postgres_schema)


@pytest.fixture
def proxy(postgres: str) -> Iterator[Proxy]:
    """Give a proxy."""
    with proxied(postgres) as proxy:
        yield proxy


@pytest.fixture
async def storage(place: Place, proxy: Proxy) -> Any:
    """Give a storage that is open through the proxy."""
    async with PostgresStorage(proxy.dsn, str, schema=place.schema) as storage:
        yield storage


@pytest.mark.parametrize("kind", ENDED_BY_US)
def test_settle_in_of_theirs_tells_when_the_outcome_is_unknown(
    place: Place, proxy: Proxy, kind: str
) -> None:
    """The commit was done, and its answer lost."""
    lease = running(place)
    with pytest.raises(BackendBroken, match="not known") as caught:  # noqa: PT012, SIM117 - all in it
        with ENDED_BY_US[kind](proxy.dsn) as theirs:
            place.note(theirs, "effect")
            proxy.lose_answers()
            theirs.settle(place.storage, done(lease))

    assert caught.value.__cause__ is not None
    assert proxy.lost == 1
    assert found(place, lease) == (Status.DONE, ["effect"])


async def lose(proxy: Proxy) -> None:
    """Have the next answer to a commit of an effect lost."""
    await anyio.to_thread.run_sync(proxy.lose_answers, 1, OURS)


async def cut(proxy: Proxy) -> None:
    """Cut the connections of effects."""
    await anyio.to_thread.run_sync(proxy.cut, OURS)


async def used(place: Place, storage: PostgresStorage[Any]) -> None:
    """Have the next effect run on a connection that was used before."""
    lease = await claimed(storage)
    await storage.settle_in(writing(place, "first"), done(lease))


async def test_settle_in_tells_when_the_outcome_is_unknown(
    place: Place, storage: PostgresStorage[Any], proxy: Proxy
) -> None:
    """On a new connection it is not tried again; the same settle later tells what became of it."""
    lease = await claimed(storage)

    async def effect(connection: Connection) -> None:
        await writing(place, "effect")(connection)
        await lose(proxy)

    with pytest.raises(BackendBroken, match="not known"):
        await storage.settle_in(effect, done(lease))

    assert found(place, lease) == (Status.DONE, ["effect"])
    assert await storage.settle_in(writing(place, "again"), done(lease)) == ALREADY[Status.DONE]
    assert found(place, lease) == (Status.DONE, ["effect"])


async def test_settle_in_finds_out_what_became_of_a_commit(
    place: Place, storage: PostgresStorage[Any], proxy: Proxy
) -> None:
    """On a connection that was used before it asks on a new one; the effect is there once."""
    await used(place, storage)
    lease, runs = await claimed(storage), list[None]()

    async def effect(connection: Connection) -> None:
        runs.append(None)
        await writing(place, "effect")(connection)
        await lose(proxy)

    answer = await storage.settle_in(effect, done(lease))

    assert (answer, len(runs)) == (ALREADY[Status.DONE], 1)
    assert found(place, lease) == (Status.DONE, ["first", "effect"])


async def test_settle_in_runs_the_effect_again_when_the_first_was_undone(
    place: Place, storage: PostgresStorage[Any], proxy: Proxy
) -> None:
    """The link was cut before the commit could be sent."""
    await used(place, storage)
    lease, runs = await claimed(storage), list[None]()

    async def effect(connection: Connection) -> None:
        runs.append(None)
        await writing(place, "effect")(connection)
        if len(runs) == 1:
            await cut(proxy)

    answer = await storage.settle_in(effect, done(lease))

    assert (answer, len(runs)) == (APPLIED[Status.DONE], 2)
    assert found(place, lease) == (Status.DONE, ["first", "effect"])


async def test_settle_in_raises_what_a_lost_connection_raises_in_the_effect(
    place: Place, storage: PostgresStorage[Any], proxy: Proxy
) -> None:
    """Nothing was committed, so that is a failure like any other."""
    lease = await claimed(storage)

    async def effect(connection: Connection) -> None:
        await cut(proxy)
        await writing(place, "effect")(connection)

    with pytest.raises(psycopg.OperationalError):
        await storage.settle_in(effect, done(lease))

    assert found(place, lease) == (Status.RUNNING, [])


async def test_settle_in_knows_that_nothing_was_written_when_it_cannot_begin(
    place: Place, storage: PostgresStorage[Any], proxy: Proxy
) -> None:
    """That is no unknown outcome: the run goes on, and is settled otherwise."""
    lease = await claimed(storage)
    await anyio.to_thread.run_sync(proxy.refuse)

    with pytest.raises(Transient) as caught:
        await storage.settle_in(writing(place, "effect"), done(lease))

    assert not isinstance(caught.value, BackendBroken)
    assert found(place, lease) == (Status.RUNNING, [])


def hurry(monkeypatch: pytest.MonkeyPatch, limit: float) -> None:
    """Give all lanes another time limit."""
    defaults: Any = Lane.run.__kwdefaults__
    monkeypatch.setitem(defaults, "limit", limit)


async def test_settle_in_gives_up_a_commit_that_is_not_answered(
    place: Place, storage: PostgresStorage[Any], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-open link: after the time limit the outcome is unknown."""
    await used(place, storage)
    lease: Lease = await claimed(storage)
    hurry(monkeypatch, 2.0)

    async def effect(connection: Connection) -> None:
        await writing(place, "effect")(connection)
        await anyio.to_thread.run_sync(proxy.half_open, OURS)

    with pytest.raises(BackendBroken, match="not known"):
        await storage.settle_in(effect, done(lease))

    await cut(proxy)  # the server must not keep the transaction open


async def test_settle_in_gives_up_an_effect_that_takes_too_long(
    place: Place, storage: PostgresStorage[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is asked to stop, and nothing is written."""
    lease = await claimed(storage)
    hurry(monkeypatch, 0.2)

    async def effect(connection: Connection) -> None:
        await writing(place, "effect")(connection)
        await connection.execute("SELECT pg_sleep(60)")

    with pytest.raises(Transient, match="no answer within") as caught:
        await storage.settle_in(effect, done(lease))

    assert not isinstance(caught.value, BackendBroken)
    assert found(place, lease) == (Status.RUNNING, [])
