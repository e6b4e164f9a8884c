"""`PostgresStorage.settle_in`: a settle and the user's own change commit together or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import registry
from sqlalchemy.pool import NullPool

from layered import BackendBroken, BackendClosed, Fatal, Status, Transient, WrongState
from layered.backend import ALREADY, APPLIED, STALE, Claimant, Done, Renew, Renewal, Settle
from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.pool import EFFECTS
from layered.task import Lease
from tests.backends.postgres.place import Place
from tests.backends.postgres.theirs import ENDED_BY_US, Async, asyncpg_plain, outside_async, url

Effect = Callable[[Connection], Awaitable[None]]


@pytest.fixture
def place(postgres: str, postgres_schema: str) -> Place:
    """Give a place."""
    return Place(postgres, postgres_schema)


def done(lease: Lease) -> Settle:
    """Make the settle of a run that ended well."""
    return Settle(lease.fence, Done(b"1"), 1)


def stale(lease: Lease) -> Settle:
    """Make the settle of a worker that lost its run."""
    return Settle(lease.fence._replace(claim_id=bytes(16)), Done(b"1"), 1)


def running(place: Place) -> Lease:
    """Push and claim a task."""

    async def push() -> None:
        async with place.make() as storage:
            await storage.push("a")

    anyio.run(push)
    (lease,) = place.leases()
    return lease


# In a transaction of the user's


@pytest.fixture(params=ENDED_BY_US)
def theirs(request: pytest.FixtureRequest, postgres: str) -> Iterator[Async]:
    """Give a transaction of each kind."""
    with ENDED_BY_US[request.param](postgres) as theirs:
        yield theirs


def found(place: Place, lease: Lease) -> tuple[int, list[str]]:
    """Answer the task's state and what stands in the user's table."""
    ((state,),) = place.query(f"SELECT state FROM {place.schema}.task WHERE id = '{lease.id}'")  # noqa: S608 - ours
    return state, place.titles()


def test_settle_in_commits_a_transaction_of_the_users(place: Place, theirs: Async) -> None:
    """The effect, the end of the run and what was pushed are there together."""
    lease = running(place)
    place.note(theirs, "effect")
    theirs.push(place.storage, "next")

    before = found(place, lease)
    answer = theirs.settle(place.storage, done(lease))

    assert answer == APPLIED[Status.DONE]
    assert before == (Status.RUNNING, [])
    assert found(place, lease) == (Status.DONE, ["effect"])
    assert place.claim() == [b'"next"']


def test_settle_in_leaves_a_stale_transaction_to_the_user(place: Place, theirs: Async) -> None:
    """Nothing is committed, and nothing rolled back."""
    lease = running(place)
    place.note(theirs, "effect")

    answer = theirs.settle(place.storage, stale(lease))
    before = found(place, lease)
    theirs.rollback()

    assert answer == STALE
    assert before == found(place, lease) == (Status.RUNNING, [])


def test_settle_in_does_not_commit_an_effect_again(place: Place, theirs: Async) -> None:
    """Where the same settle was applied before, its effect was, too: this one is rolled back."""
    lease = running(place)
    with ENDED_BY_US["psycopg"](place.dsn) as first:
        place.note(first, "effect")
        first.settle(place.storage, done(lease))
    place.note(theirs, "again")

    answer = theirs.settle(place.storage, done(lease))
    with suppress(Exception):
        theirs.commit()  # as the end of a block does

    assert answer == ALREADY[Status.DONE]
    assert found(place, lease) == (Status.DONE, ["effect"])


def test_settle_in_does_not_settle_what_the_server_refuses_to_commit(
    place: Place, theirs: Async
) -> None:
    """A constraint that is checked at the end undoes both, and is the driver's own error."""
    lease = running(place)
    place.query(f"ALTER TABLE {place.schema}.book ADD UNIQUE (title) DEFERRABLE INITIALLY DEFERRED")
    place.query(f"ALTER TABLE {place.schema}.book DROP CONSTRAINT book_pkey")
    place.note(theirs, "effect")
    place.note(theirs, "effect")

    with pytest.raises(Exception, match="duplicate key") as caught:
        theirs.settle(place.storage, done(lease))

    assert not isinstance(caught.value, BackendBroken)
    assert found(place, lease) == (Status.RUNNING, [])


def test_settle_in_sends_what_a_session_has_not_sent_yet(place: Place) -> None:
    """An object that cannot be stored is told before the run is settled, not as a lost commit."""
    lease = running(place)
    books = sqlalchemy.Table(
        "book",
        sqlalchemy.MetaData(schema=place.schema),
        sqlalchemy.Column("title", sqlalchemy.types.NullType, primary_key=True),
    )
    book = type("Book", (), {})
    registry().map_imperatively(book, books)

    async def main(title: object) -> None:
        engine = create_async_engine(url(place.dsn, "psycopg"), poolclass=NullPool)
        async with AsyncSession(engine) as session:
            made = book()
            made.title = title
            session.add(made)
            await place.storage.settle_in(session, done(lease))

    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="cannot adapt"):
        anyio.run(main, object())
    before = found(place, lease)
    anyio.run(main, "effect")

    assert before == (Status.RUNNING, [])
    assert found(place, lease) == (Status.DONE, ["effect"])


def test_settle_in_does_not_hold_up_renewals(place: Place) -> None:
    """While a transaction has the run's row, its own and others' leases are renewed at once."""
    lease = running(place)
    other = running(place)
    renewals = [Renew(one.fence, 1) for one in (lease, other)]

    async def renew() -> list[Renewal]:
        async with place.make() as storage:
            renewed: list[Renewal] = []

            async def effect(connection: Connection) -> None:
                with anyio.fail_after(5):
                    renewed.extend(await storage.renew(renewals, 30.0))

            await storage.settle_in(effect, done(lease))
            return renewed

    assert anyio.run(renew) == [Renewal.OK, Renewal.OK]


def test_settle_in_refuses_a_connection_without_a_transaction(place: Place) -> None:
    """What was done on it is committed already: that is no effect of this settle."""
    lease = running(place)

    async def main() -> None:
        async for connection in outside_async(place.dsn):
            with pytest.raises((WrongState, TypeError), match=r"begin one|give that"):
                await place.storage.settle_in(connection, done(lease))

    anyio.run(main)

    assert found(place, lease) == (Status.RUNNING, [])


def test_settle_in_refuses_a_block_that_would_commit_again(place: Place) -> None:
    """The way out is in the message, and nothing was sent."""
    lease = running(place)

    async def main() -> None:
        async with (
            await psycopg.AsyncConnection.connect(place.dsn) as connection,
            connection.transaction(),
        ):
            with pytest.raises(WrongState, match="leave the block out: psycopg begins"):
                await place.storage.settle_in(connection, done(lease))
        async with asyncpg_plain(place.dsn) as connection:
            transaction = connection.transaction()
            async with transaction:
                with pytest.raises(WrongState, match="leave the block out: await transaction"):
                    await place.storage.settle_in(transaction, done(lease))

    anyio.run(main)

    assert found(place, lease) == (Status.RUNNING, [])


def test_settle_in_refuses_a_connection_that_does_not_show_its_transaction(place: Place) -> None:
    """An asyncpg connection cannot commit; its transaction can."""
    lease = running(place)

    async def main() -> None:
        async with asyncpg_plain(place.dsn) as connection, connection.transaction():
            with pytest.raises(
                TypeError, match=r"give that: transaction = connection\.transaction"
            ):
                await place.storage.settle_in(connection, done(lease))

    anyio.run(main)

    assert found(place, lease) == (Status.RUNNING, [])


@pytest.mark.parametrize("tx", [None, "COMMIT", 7])
def test_settle_in_refuses_what_is_no_transaction(place: Place, tx: object) -> None:
    """The message names what it takes."""
    lease = running(place)

    with pytest.raises(TypeError, match="an async function, an AsyncConnection of psycopg 3"):
        anyio.run(place.storage.settle_in, tx, done(lease))


# With an effect, on a connection of ours, on every loop


@pytest.fixture
async def storage(place: Place) -> Any:
    """Give an open storage."""
    async with place.make() as storage:
        yield storage


def writing(place: Place, title: str, error: Exception | None = None) -> Effect:
    """Make an effect: a row in the user's table, and an error after it, perhaps."""

    async def write(connection: Connection) -> None:
        await connection.execute(f"INSERT INTO {place.schema}.book VALUES ('{title}')".encode())  # noqa: S608 - ours
        if error is not None:
            raise error

    return write


async def claimed(storage: PostgresStorage[Any]) -> Lease:
    """Push and claim a task."""
    await storage.push("a")
    (lease,) = (await storage.claim(Claimant("default", "me"), {"str": 1}, 1)).leases
    return lease


async def test_settle_in_runs_an_effect(place: Place, storage: PostgresStorage[Any]) -> None:
    """Both are stored, and those who wait are told."""
    lease, told = await claimed(storage), list[None]()

    with storage.ended.listening(lambda: told.append(None)):
        answer = await storage.settle_in(writing(place, "effect"), done(lease))

    assert answer == APPLIED[Status.DONE]
    assert found(place, lease) == (Status.DONE, ["effect"])
    assert told


async def test_settle_in_raises_what_the_effect_raises(
    place: Place, storage: PostgresStorage[Any]
) -> None:
    """The same object, errors of the driver's included; the run can still be settled."""
    lease, error = await claimed(storage), psycopg.errors.UniqueViolation("mine")

    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        await storage.settle_in(writing(place, "effect", error), done(lease))

    assert caught.value is error
    assert found(place, lease) == (Status.RUNNING, [])
    assert await storage.settle_in(writing(place, "again"), done(lease)) == APPLIED[Status.DONE]


REFUSING = """
CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE 'refused' USING ERRCODE = '{sqlstate}'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON {schema}.book DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION {schema}.refuse();
"""


@pytest.mark.parametrize(("sqlstate", "told"), [("40001", Transient), ("23514", Fatal)])
async def test_settle_in_tells_what_the_server_refuses_to_commit(
    place: Place, storage: PostgresStorage[Any], sqlstate: str, told: type[Exception]
) -> None:
    """The server has answered, so the outcome is known."""
    lease = await claimed(storage)
    place.query(REFUSING.format(schema=place.schema, sqlstate=sqlstate))

    with pytest.raises(told, match="refused") as caught:
        await storage.settle_in(writing(place, "effect"), done(lease))

    assert not isinstance(caught.value, BackendBroken)
    assert found(place, lease) == (Status.RUNNING, [])


async def test_settle_in_does_not_run_a_stale_effect(
    place: Place, storage: PostgresStorage[Any]
) -> None:
    """A worker that lost its run changes nothing."""
    lease = await claimed(storage)

    answer = await storage.settle_in(writing(place, "effect"), stale(lease))

    assert answer == STALE
    assert found(place, lease) == (Status.RUNNING, [])


async def test_settle_in_pushes_in_an_effect(place: Place, storage: PostgresStorage[Any]) -> None:
    """What an effect pushes on its connection is stored with the end of the run."""
    lease = await claimed(storage)

    async def effect(connection: Connection) -> None:
        await storage.push_in(connection, "next")
        async with connection.transaction():  # a savepoint
            await storage.push_in(connection, "undone")
            raise psycopg.Rollback

    await storage.settle_in(effect, done(lease))

    assert [lease.payload for lease in await ready(storage)] == [b'"next"']


async def ready(storage: PostgresStorage[Any]) -> list[Lease]:
    """Claim all that is there."""
    return list((await storage.claim(Claimant("default", "me"), {"str": 9}, 9)).leases)


async def swallowing(connection: Connection) -> None:
    """Go on after an error of the server's."""
    with pytest.raises(psycopg.errors.UndefinedTable):
        await connection.execute("SELECT * FROM no_such_table")


ENDING: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "commit()": lambda connection: connection.commit(),
    "rollback()": lambda connection: connection.rollback(),
    "ROLLBACK": lambda connection: connection.execute("ROLLBACK"),
    "close()": lambda connection: connection.close(),
    "an error swallowed": swallowing,
}


@pytest.mark.parametrize("how", ENDING)
async def test_settle_in_refuses_to_end_the_transaction(
    place: Place, storage: PostgresStorage[Any], how: str
) -> None:
    """The commit is the storage's: an effect that ends it is told, and nothing is stored."""
    lease = await claimed(storage)

    async def effect(connection: Connection) -> None:
        await writing(place, "effect")(connection)
        await ENDING[how](connection)

    with pytest.raises((WrongState, psycopg.ProgrammingError)):
        await storage.settle_in(effect, done(lease))

    assert found(place, lease) == (Status.RUNNING, [])
    assert await storage.settle_in(writing(place, "again"), done(lease)) == APPLIED[Status.DONE]
    assert found(place, lease) == (Status.DONE, ["again"])


async def test_settle_in_refuses_a_plain_function(
    place: Place, storage: PostgresStorage[Any]
) -> None:
    """It would block the loop."""
    lease = await claimed(storage)

    with pytest.raises(TypeError, match="must be an async function"):
        await storage.settle_in(lambda _: None, done(lease))

    assert found(place, lease) == (Status.RUNNING, [])


async def test_settle_in_is_refused_when_the_storage_is_closed(place: Place) -> None:
    """The way out is in the message."""
    async with place.make() as storage:
        lease = await claimed(storage)

    with pytest.raises(BackendClosed, match="open it"):
        await storage.settle_in(writing(place, "effect"), done(lease))


async def test_settle_in_is_undone_by_a_cancellation(
    place: Place, storage: PostgresStorage[Any]
) -> None:
    """An effect that is cancelled leaves nothing, and its connection can be used again."""
    lease = await claimed(storage)

    async def effect(connection: Connection) -> None:
        await writing(place, "effect")(connection)
        scope.cancel()
        await connection.execute("SELECT pg_sleep(60)")

    with anyio.CancelScope() as scope:
        await storage.settle_in(effect, done(lease))

    assert scope.cancelled_caught
    assert found(place, lease) == (Status.RUNNING, [])
    answers = [await storage.settle_in(writing(place, "b"), done(lease)) for _ in range(EFFECTS)]
    assert answers == [APPLIED[Status.DONE], *[ALREADY[Status.DONE]] * (EFFECTS - 1)]


async def test_settle_in_runs_more_effects_than_it_has_connections(
    place: Place, storage: PostgresStorage[Any]
) -> None:
    """So many run at the same time; the others wait for their turn, and none is lost."""
    tasks = 3 * EFFECTS
    await storage.push_many(["a"] * tasks)
    leases = (await storage.claim(Claimant("default", "me"), {"str": tasks}, tasks)).leases
    at_work, full = [0, 0], anyio.Event()

    def effect(number: int) -> Effect:
        async def note(connection: Connection) -> None:
            at_work[0] += 1
            at_work[1] = max(at_work)
            await writing(place, str(number))(connection)
            if at_work[0] == EFFECTS:
                full.set()
            await full.wait()
            at_work[0] -= 1

        return note

    async with anyio.create_task_group() as group:
        for number, lease in enumerate(leases):
            group.start_soon(storage.settle_in, effect(number), done(lease))

    assert sorted(place.titles(), key=int) == [str(number) for number in range(tasks)]
    assert at_work == [0, EFFECTS]
