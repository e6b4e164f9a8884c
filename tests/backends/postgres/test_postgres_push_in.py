"""Pushes in transactions of the user's: stored when those are committed, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import anyio
import psycopg
import pytest

from layered import Conflict, Dedup, Fatal, Middleware, OnConflict, PushRefused, Service, Status
from layered.backend import Pushed
from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.dedup import insert_one_by_one
from layered.backends.postgres.statement import numbered
from layered.backends.postgres.within import finish
from layered.backends.postgres.within_sync import within_sync
from layered.task import Draft, Task, new_id
from tests.backends.postgres.place import Place
from tests.backends.postgres.theirs import (
    ASYNC,
    ENDED_BY_US,
    KINDS,
    SYNC,
    Storage,
    Theirs,
    asyncpg_plain,
    outside_async,
    outside_sync,
)


@pytest.fixture
def place(postgres: str, postgres_schema: str) -> Place:
    """Give a place."""
    return Place(postgres, postgres_schema)


@pytest.fixture(params=KINDS)
def theirs(request: pytest.FixtureRequest, postgres: str) -> Iterator[Theirs]:
    """Give a transaction of each kind."""
    with KINDS[request.param](postgres) as theirs:
        yield theirs


def test_push_in_is_stored_with_the_commit(place: Place, theirs: Theirs) -> None:
    """Nobody sees the task before; after it the task is there, with all that was said of it."""
    place.note(theirs, "a")
    pushed = theirs.push(
        place.storage, "an é", metadata={"k": 'a "quoted", {comma} \\ and \x00'}, priority=7
    )
    before = place.statuses(pushed)

    theirs.commit()

    (record,) = place.records(pushed)
    assert before == [None]
    assert pushed.duplicate is None
    assert record is not None
    assert (record.payload, record.priority) == ('"an é"'.encode(), 7)
    assert record.metadata == {"k": 'a "quoted", {comma} \\ and \x00'}
    assert place.titles() == ["a"]
    assert place.claim() == ['"an é"'.encode()]


def test_push_in_is_gone_with_a_rollback(place: Place, theirs: Theirs) -> None:
    """Nothing is left of it."""
    place.note(theirs, "a")
    pushed = theirs.push(place.storage, "a")

    theirs.rollback()

    assert place.statuses(pushed) == [None]
    assert (place.titles(), place.claim()) == ([], [])


def test_push_in_takes_two_tasks_and_many(place: Place, theirs: Theirs) -> None:
    """All of a transaction appear together."""
    theirs.push(place.storage, "a")
    theirs.push(place.storage, "b")
    many = theirs.push_many(place.storage, ["c", "d"], max_attempts=3)

    before = place.claim()
    theirs.commit()

    assert len({pushed.id for pushed in many}) == 2
    assert before == []
    assert place.claim() == [b'"a"', b'"b"', b'"c"', b'"d"']


def test_push_in_goes_by_the_time_that_is_given(place: Place, theirs: Theirs) -> None:
    """Delays and instants are kept."""
    at = datetime(2040, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    first = theirs.push(place.storage, "a", at=at)
    second = theirs.push(place.storage, "b", delay=60)

    theirs.commit()

    records = place.records(first, second)
    assert [record and record.status for record in records] == [Status.SCHEDULED] * 2
    assert records[0] is not None
    assert records[0].due_at == at


def test_push_in_carries_its_hint(place: Place, theirs: Theirs) -> None:
    """Where the storage was made with hints, whatever the driver."""
    storage = PostgresStorage.with_notify(place.dsn, str, schema=place.schema, queue="mine")
    with psycopg.connect(place.dsn, autocommit=True) as listening:
        listening.execute(f'LISTEN "layered_{place.schema}"'.encode())
        theirs.push(storage, "a")
        theirs.commit()

        notices = [notice.payload for notice in listening.notifies(stop_after=1, timeout=30)]

    assert notices == ["mine"]


def test_push_in_leaves_errors_of_the_driver_as_they_are(place: Place, theirs: Theirs) -> None:
    """In a transaction that has failed already, for one."""
    with pytest.raises(Exception, match="no_such_table"):
        theirs.execute("SELECT * FROM no_such_table")

    with pytest.raises(Exception, match="current transaction is aborted") as caught:
        theirs.push(place.storage, "a")
    theirs.rollback()

    assert type(caught.value).__module__.partition(".")[0] in {
        *("psycopg", "asyncpg", "sqlalchemy", "django"),
    }


def test_push_in_answers_a_duplicate_and_goes_on(place: Place, theirs: Theirs) -> None:
    """An id that is there is no error: the transaction commits what else it has."""
    task_id = new_id()
    first = theirs.push(place.storage, "a", id=task_id, delay=5)

    second = theirs.push(place.storage, "b", id=task_id)
    place.note(theirs, "a")
    theirs.commit()

    assert (first, second) == (Pushed(task_id), Pushed(task_id, Status.SCHEDULED))
    assert place.titles() == ["a"]


def test_push_in_keeps_dedup_keys(place: Place, theirs: Theirs) -> None:
    """The key belongs to the transaction's task: kept, replaced, or rejected without harm."""
    first = theirs.push(place.storage, "a", dedup="k")

    kept = theirs.push(place.storage, "b", dedup="k")
    replaced = theirs.push(place.storage, "c", dedup=Dedup("k", OnConflict.REPLACE))
    with pytest.raises(Conflict, match="holds its dedup key 'k'"):
        theirs.push(place.storage, "d", dedup=Dedup("k", OnConflict.REJECT))
    place.note(theirs, "a")
    theirs.commit()

    assert kept == Pushed(first.id, Status.READY)
    assert replaced == Pushed(first.id, Status.READY, replaced=True)
    assert (place.claim(), place.titles()) == ([b'"c"'], ["a"])


def test_drafts_with_dedup_keys_are_stored_all_or_none_within_a_transaction(place: Place) -> None:
    """Where one of them is rejected the others are undone, and nothing else is."""
    dedup = Dedup("k", OnConflict.REJECT)
    drafts = [
        Draft(new_id(), "default", "str", b"1", dedup=each)
        for each in (Dedup("other"), dedup, dedup)
    ]
    with SYNC["psycopg"](place.dsn) as theirs:
        place.note(theirs, "a")
        with pytest.raises(Conflict):
            finish(insert_one_by_one(within_sync(theirs.tx), place.storage.schema, drafts))
        theirs.commit()

    assert (place.titles(), place.claim()) == (["a"], [])


def test_push_in_gives_its_dedup_key_back_with_a_rollback(place: Place, theirs: Theirs) -> None:
    """The next push of that key is a new task."""
    theirs.push(place.storage, "a", dedup="k")
    theirs.rollback()

    async def push() -> Pushed:
        async with place.make() as storage:
            return await storage.push("b", dedup="k")

    assert anyio.run(push).duplicate is None
    assert place.claim() == [b'"b"']


def test_push_in_is_gone_with_its_savepoint(place: Place, theirs: Theirs) -> None:
    """What is outside of the savepoint stays."""
    theirs.push(place.storage, "outer")
    theirs.execute("SAVEPOINT mine")
    theirs.push(place.storage, "inner")
    theirs.push(place.storage, "kept apart", dedup="k")
    theirs.execute("ROLLBACK TO SAVEPOINT mine")

    theirs.commit()

    assert place.claim() == [b'"outer"']


def test_push_in_is_gone_when_the_transaction_fails_later(place: Place, theirs: Theirs) -> None:
    """A statement of the user's that fails takes the push with it."""
    place.note(theirs, "a")
    theirs.push(place.storage, "a")

    with pytest.raises(Exception, match="duplicate key"):
        place.note(theirs, "a")
    try:
        theirs.commit()
    except Exception:  # noqa: BLE001 - as a program would, whatever its driver says
        theirs.rollback()

    assert (place.titles(), place.claim()) == ([], [])


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (b"no text", {}, "this storage takes str, got bytes"),
        ("a", {"priority": 11}, "priority must be 0 to 9"),
        ("a", {"colour": "red"}, "unknown option 'colour'"),
    ],
)
def test_push_in_refuses_before_anything_is_sent(
    place: Place, theirs: Theirs, args: object, options: dict[str, Any], message: str
) -> None:
    """The user's transaction goes on as if nothing had been."""
    place.note(theirs, "a")

    with pytest.raises(PushRefused, match=message):
        theirs.push(place.storage, args, **options)
    place.note(theirs, "b")
    theirs.commit()

    assert (place.titles(), place.claim()) == (["a", "b"], [])


def test_push_in_says_that_a_database_has_no_schema(theirs: Theirs, postgres: str) -> None:
    """It is the wrong one, or was never migrated: the way out is in the message."""
    storage: Storage = PostgresStorage(postgres, str, schema="nowhere")

    with pytest.raises(Fatal, match=r"no schema of layered.*run storage\.migrate\(\)"):
        theirs.push(storage, "a")

    theirs.rollback()


@pytest.mark.parametrize("kind", ENDED_BY_US)
def test_push_in_sync_refuses_what_needs_a_loop(place: Place, kind: str) -> None:
    """And says where that goes."""
    with (
        ENDED_BY_US[kind](place.dsn) as theirs,
        pytest.raises(TypeError, match=r"async ones go to await storage.push_in\(\)"),
    ):
        place.storage.push_in_sync(theirs.tx, "a")


@pytest.mark.parametrize("kind", SYNC)
def test_push_in_refuses_what_would_block_the_loop(place: Place, kind: str) -> None:
    """And says where that goes."""
    with SYNC[kind](place.dsn) as theirs:
        with pytest.raises(TypeError, match=r"calls push_in_sync\(\)"):
            anyio.run(place.storage.push_in, theirs.tx, "a")
        theirs.rollback()


@pytest.mark.parametrize("tx", [None, "BEGIN", object(), 7])
def test_push_in_refuses_what_is_no_transaction(place: Place, tx: object) -> None:
    """The message names what it takes."""
    with pytest.raises(TypeError, match="AsyncSession of SQLAlchemy"):
        anyio.run(place.storage.push_in, tx, "a")
    with pytest.raises(TypeError, match="Session of SQLAlchemy"):
        place.storage.push_in_sync(tx, "a")


def test_push_in_sync_refuses_a_connection_that_would_commit_at_once(place: Place) -> None:
    """A forgotten ``atomic()`` is told, and nothing is stored."""
    for connection in outside_sync(place.dsn):
        with pytest.raises(PushRefused, match="would be committed at once; begin one"):
            place.storage.push_in_sync(connection, "a")

    assert place.claim() == []


def test_push_in_refuses_a_connection_that_would_commit_at_once(place: Place) -> None:
    """The same for each async driver."""

    async def main() -> None:
        async for connection in outside_async(place.dsn):
            with pytest.raises(PushRefused, match="would be committed at once; begin one"):
                await place.storage.push_in(connection, "a")

    anyio.run(main)

    assert place.claim() == []


class Counted(Middleware[Task[Any], Pushed]):
    """Sees the pushes."""

    def __init__(self, inner: Service[Task[Any], Pushed], seen: list[Any]) -> None:
        super().__init__(inner)
        self._seen = seen

    async def call(self, request: Task[Any], /) -> Pushed:
        self._seen.append(request.args)
        return await self.inner.call(request.replace(request.args.upper()))


@pytest.mark.parametrize("kind", ASYNC)
def test_push_in_goes_through_the_layers(place: Place, kind: str) -> None:
    """They see each push, and what comes out of them is stored in the transaction."""
    seen: list[str] = []
    storage = place.make(layers=[lambda inner: Counted(inner, seen)])
    with ASYNC[kind](place.dsn) as theirs:
        pushed = theirs.push(storage, "a")
        theirs.push_many(storage, ["b", "c"])

        before = place.statuses(pushed)
        theirs.commit()

    assert (before, seen) == ([None], ["a", "b", "c"])
    assert place.claim() == [b'"A"', b'"B"', b'"C"']


@pytest.mark.parametrize("kind", SYNC)
def test_push_in_sync_refuses_a_storage_with_layers(place: Place, kind: str) -> None:
    """Layers may wait, and there is no loop to wait in."""
    storage = place.make(layers=[lambda inner: Counted(inner, [])])
    with SYNC[kind](place.dsn) as theirs:
        with pytest.raises(PushRefused, match="has layers, which need one; use push_in"):
            theirs.push(storage, "a")
        theirs.rollback()


# The statement


def test_push_statement_is_run_by_psycopg(place: Place) -> None:
    """It answers the ids that were stored, and a duplicate is no error."""
    task_id = new_id()
    text, params = place.storage.push_statement("a", id=task_id)
    many, several = place.storage.push_statement("b", "c", priority=1)

    with psycopg.connect(place.dsn) as connection:
        first = connection.execute(text, params).fetchall()
        again = connection.execute(text, params).fetchall()
        both = connection.execute(many, several).fetchall()

    assert (first, again, len(both)) == ([(task_id,)], [], 2)
    assert place.claim() == [b'"a"', b'"b"', b'"c"']


def test_push_statement_is_run_by_asyncpg(place: Place) -> None:
    """The same with its placeholders."""
    task_id = new_id()
    text, params = place.storage.push_statement("a", style="asyncpg", id=task_id)

    async def main() -> list[list[tuple[Any, ...]]]:
        async with asyncpg_plain(place.dsn) as connection:
            found = [await connection.fetch(text, *params) for _ in range(2)]
        return [[tuple(row) for row in rows] for rows in found]

    assert anyio.run(main) == [[(task_id,)], []]
    assert place.claim() == [b'"a"']


@pytest.mark.parametrize(
    ("many", "options", "message"),
    [
        (["a"], {"dedup": "k"}, "not one statement; use push_in_sync"),
        (["a", "b"], {"id": new_id()}, "every task needs its own"),
        (["a"], {"priority": 10}, "priority must be"),
    ],
)
def test_push_statement_refuses_what_one_statement_cannot_do(
    place: Place, many: list[str], options: dict[str, Any], message: str
) -> None:
    """The way out is in the message."""
    with pytest.raises(PushRefused, match=message):
        place.storage.push_statement(*many, **options)


def test_numbered_writes_a_statement_as_asyncpg_takes_it() -> None:
    """One number for each name, percents alone, and texts as text before their cast."""
    text, places = numbered("SELECT %(b)s::int[], %(a)s, 7 %% 2, %(b)s", {"a": 1, "b": "{2}"})

    assert text == "SELECT $1::text::int[], $2, 7 % 2, $1::text"
    assert places == ("{2}", 1)


def test_finish_refuses_to_wait() -> None:
    """There is no loop; nothing hangs, and the work is closed."""

    async def wait() -> None:
        await asyncio.Future(loop=loop)

    loop = asyncio.new_event_loop()

    with pytest.raises(RuntimeError, match="there is no event loop"):
        finish(wait())

    loop.close()


def test_postgres_storage_loads_no_driver_but_psycopg() -> None:
    """Who has an object of another has loaded it."""
    import subprocess
    import sys

    code = (
        "import sys, layered.backends.postgres; "
        "print(sorted({'asyncpg', 'sqlalchemy', 'django'} & sys.modules.keys()))"
    )

    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert found.stdout == "[]\n"
