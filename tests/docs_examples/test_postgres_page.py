"""That the page about PostgreSQL is true: its programs, grants, connections and queries."""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from layered import Fatal, Inspector, Kind, PostgresStorage, WorkerBuilder, WorkerContext
from layered.backend import About, Beat, Claimant, Dead, Done, Ending, Failure, Renew, Retry, Settle
from layered.backends.postgres.connection import Connection
from tests.docs_examples.run_page import FENCE, SKIPPED
from tests.docs_examples.test_output import printed
from tests.house.source import ROOT

PAGE = (ROOT / "docs" / "postgres.md").read_text()
DSN = "postgresql://mail@db.example/app"
KINDS = (Kind(str, name="Email"), Kind(int, name="Sms"))

SQL = [found[2] for found in FENCE.finditer(PAGE) if found[1] == "sql"]
QUERIES = {found[1]: each for each in SQL if (found := re.match(r"-- ([\w ]+)\n", each))}
(GRANTS,) = [each for each in SQL if each not in QUERIES.values()]

ANY: Any = type("Any", (), {"__eq__": lambda *_: True, "__hash__": None})()
"""What differs from run to run."""


@contextmanager
def made_database(postgres: str) -> Iterator[str]:
    """Make a database, so that the page's SQL is run as it stands there; give its DSN."""
    name = f"page_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield make_conninfo(postgres, dbname=name)
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """Give the DSN of an empty database."""
    with made_database(postgres) as dsn:
        yield dsn


def names(database: str) -> list[str]:
    """List the connections of layered by name, with the page's query."""
    with psycopg.connect(database) as connection:
        rows = connection.execute(QUERIES["connections"].encode()).fetchall()
    # The server takes a moment to notice that one was closed.
    return [
        name for name, sessions, _ in rows if name != "layered migrate" for _ in range(sessions)
    ]


def test_programs_of_the_page_run(database: str, tmp_path: Path) -> None:
    """What is skipped for want of a server works where there is one."""
    program = tmp_path / "page.md"
    text = "\n".join(line for line in PAGE.splitlines() if not SKIPPED.search(line))
    program.write_text(text.replace(DSN, database) + "\n```python\nanyio.run(show)\n```\n")

    outputs = [*printed(program, tmp_path).values()]

    assert "250 OK\n" in outputs
    assert outputs[-1] == "\n", "all is up to date"


def test_sql_of_the_dry_run_can_be_run_by_hand(database: str) -> None:
    """A storage finds nothing left to do then."""
    storage = PostgresStorage(database, str)
    text = "\n".join(anyio.run(lambda: storage.migrate(dry_run=True)))

    with psycopg.connect(database) as connection:
        connection.execute(text.encode())

    assert anyio.run(storage.migrate) == []


async def test_ten_programs_that_start_at_once_migrate_once(database: str) -> None:
    """Nine of them wait, and find nothing to do."""
    ran: list[int] = []

    async def start() -> None:
        ran.append(len(await PostgresStorage(database, str).migrate()))

    async with anyio.create_task_group() as programs:
        for _ in range(10):
            programs.start_soon(start)

    assert sorted(ran) == [0] * 9 + [1]


async def test_newer_schema_is_refused(database: str) -> None:
    """Who knows less than the schema keeps away from it."""
    storage = PostgresStorage(database, str)
    await storage.migrate()
    with psycopg.connect(database) as connection:
        connection.execute("insert into layered.migration values (2)")

    with pytest.raises(Fatal, match=r"it has version 2, this program knows up to 1; update"):
        async with storage:
            pass


async def test_roles_of_the_page_can_do_what_they_are_for(database: str) -> None:
    """The owner migrates without the right to create schemas; the other one can do the rest."""

    async def use() -> None:
        async with PostgresStorage.with_notify(dsn("mail"), str) as storage:
            pushed = await storage.push("a", dedup="a")
            await WorkerBuilder("mail").backend(storage).build(handle).run(until_empty=True)
            assert await storage.result(pushed.id, handle) == "a"
            inspector = Inspector(storage)
            await inspector.pause()
            await inspector.resume()
            await inspector.cancel((await storage.push("b", delay=60)).id)
            await inspector.prune()

    async def handle(value: str, ctx: WorkerContext) -> str:
        await ctx.progress(1)
        await ctx.once("step", anyio.sleep, 0)
        return value

    def dsn(user: str) -> str:
        return make_conninfo(database, user=user)

    with psycopg.connect(database, autocommit=True) as administrator:
        try:
            administrator.execute(GRANTS.encode())
            with pytest.raises(Fatal, match="access was denied"):
                await use()
            await PostgresStorage(dsn("mail_owner"), str).migrate()

            await use()

            with psycopg.connect(dsn("mail")) as other, pytest.raises(psycopg.errors.Error):
                other.execute("create table layered.other ()")
        finally:
            for role in ("mail_owner", "mail"):
                administrator.execute(f"drop owned by {role} cascade".encode())
                administrator.execute(f"drop role {role}".encode())


async def test_connections_are_those_of_the_page(database: str) -> None:
    """Each is opened when it is first needed, and named for what it is for."""
    seen: list[list[str]] = []

    def look() -> None:
        seen.append([name for name in names(database) if not any(name in each for each in seen)])

    async def effect(connection: Connection) -> None:
        look()

    async with PostgresStorage.with_notify(database, str) as storage:
        look()
        await storage.push("a")
        look()
        (lease,) = (await storage.claim(Claimant("default", "worker"), {"str": 1}, 1)).leases
        look()
        async with storage.keeper() as keeper:
            await keeper.renew([Renew(lease.fence, 1)], 30)
            look()
        await storage.settle([Settle(lease.fence, Retry(Failure("E", ""), 0), 1)])
        look()
        (lease,) = (await storage.claim(Claimant("default", "worker"), {"str": 1}, 1)).leases
        await storage.settle_in(effect, Settle(lease.fence, Done(None), 2))

    assert seen == [
        ["layered listen", "layered read"],
        ["layered push"],
        ["layered claim"],
        ["layered keeper"],
        ["layered settle"],
        ["layered effect"],
    ]
    told = re.findall(r"^\| `(layered \w+)` \|", PAGE, re.MULTILINE)
    assert sorted(told) == sorted(["layered migrate", *chain(*seen)])


@pytest.fixture(scope="module")
def answers(postgres: str) -> Iterator[Mapping[str, Sequence[tuple[Any, ...]]]]:
    """Give what each query of the page answers where there is something of everything."""
    with made_database(postgres) as dsn:
        yield anyio.run(ask, dsn)


async def ask(dsn: str) -> Mapping[str, Sequence[tuple[Any, ...]]]:
    """Fill a storage, and run each query while it is open and somebody holds up vacuum."""
    async with PostgresStorage[Any].with_notify(dsn, KINDS) as storage:
        await fill(storage)
        with psycopg.connect(dsn, application_name="report") as report:
            report.execute("create temporary table written ()")
            with psycopg.connect(dsn, autocommit=True) as administrator:
                return {
                    name: administrator.execute(query.encode()).fetchall()
                    for name, query in QUERIES.items()
                }


async def fill(storage: PostgresStorage[Any]) -> None:
    """Store tasks in many states, workers, and a queue that is paused."""
    await storage.push_many([1, 2, 3, 4])
    claimant = Claimant("default", "worker-1", lease=0.001)
    claimed = await storage.claim(claimant, {"Sms": 4}, 4)
    endings: list[Ending] = [
        Done(b"1"),
        Dead(Failure("ValueError", 'no "address"\x00')),
        Retry(Failure("OSError", "away"), 3600.0),
    ]
    await storage.settle(
        [
            Settle(lease.fence, ending, 1)
            for lease, ending in zip(claimed.leases, endings, strict=False)
        ]
    )
    await storage.push("due soon", delay=0.000_001)
    await storage.push_many(["ready"] * 2)
    await storage.push("later", delay=3600)
    about = About(state="running", in_flight=1).encoded()
    await storage.beat(Beat("worker-1", "default", about, every=10.0))
    await storage.beat(Beat("killed", "default", about, every=0.0))
    await storage.pause("slow", None)


@pytest.mark.parametrize(
    ("query", "expected"),
    {
        "backlog": [("default", "Email", 3, ANY)],
        "states": [
            ("default", "Email", "scheduled", 2),
            ("default", "Email", "ready", 2),
            ("default", "Sms", "retry", 1),
            ("default", "Sms", "running", 1),
            ("default", "Sms", "done", 1),
            ("default", "Sms", "dead", 1),
        ],
        "overdue": [(ANY, "default", "Sms", "worker-1", 0, ANY)],
        "failures": [
            ("default", "Sms", "ValueError", 1, 0, ANY),
            ("default", "Sms", "OSError", 0, 1, None),
        ],
        "workers": [
            ("default", "worker-1", True, ANY, "running", "1"),
            ("default", "killed", False, ANY, "running", "1"),
        ],
        "paused": [("slow", None)],
        "oldest transactions": [(ANY, ANY, "report", "idle in transaction", ANY)],
        "connections": [
            (f"layered {name}", 1, ANY) for name in ("claim", "listen", "push", "read", "settle")
        ],
        "notifications": [(0.0,)],
    }.items(),
)
def test_query_of_the_page_answers(
    query: str,
    expected: Sequence[tuple[Any, ...]],
    answers: Mapping[str, Sequence[tuple[Any, ...]]],
) -> None:
    """An administrator sees what is there."""
    found = [row for row in answers[query] if "layered migrate" not in row]

    assert found == expected


def test_query_of_the_page_finds_dead_rows(
    answers: Mapping[str, Sequence[tuple[Any, ...]]],
) -> None:
    """The server counts them for each table, and tells with a delay."""
    tables = {name for name, *_ in answers["dead rows"]}

    assert tables == {"task", "dedup", "checkpoint", "queue", "worker", "migration"}
    assert answers.keys() == QUERIES.keys()
