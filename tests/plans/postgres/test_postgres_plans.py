"""What an operation of PostgreSQL costs does not grow with the backlog, at a million tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import psycopg
import pytest

from layered.backends.postgres import queries
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.queries import named
from tests.plans.postgres.backlogs import BACKLOGS, SETTINGS, make
from tests.plans.postgres.costs import MODES, Cost, cost, set_mode
from tests.plans.postgres.operations import OPERATIONS, Operation, Store
from tests.servers.postgres import Server

T = TypeVar("T")

SMALL, LARGE = 10_000, 1_000_000
FILES = [
    "board.sql",
    "cancel.sql",
    "claim.sql",
    "lease.sql",
    "prune.sql",
    "push.sql",
    "read.sql",
    "run.sql",
    "settle.sql",
]


class Stores:
    """A small and a large store with the same kind of backlog, and a loop to use them in."""

    def __init__(self, dsn: str, admin: psycopg.Connection[Any], kind: str, large: int) -> None:
        self.kind = kind
        self.admin = admin
        self.runner = asyncio.Runner()
        self._small: dict[Operation, Cost] = {}
        for name, size in {"small": SMALL, "large": large}.items():
            admin.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
            make(admin, name, kind, size)
        self.connection = self.run(Connection.open(dsn, "plans"))
        self.small = Store(self.connection, "small")
        self.large = Store(self.connection, "large")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something to its end."""
        return self.runner.run(work)

    def close(self) -> None:
        """Close the connection."""
        self.run(self.connection.close())
        self.runner.close()

    def set_mode(self, mode: str) -> None:
        """Have the planner know what *mode* says."""
        for store in (self.small, self.large):
            self.run(set_mode(store, mode))

    def troubles(self, operation: Operation) -> list[str]:
        """Say where an operation costs more than its batch, or finds not what it should."""
        few = self.run(cost(self.large, operation, 10))
        if operation not in self._small:
            self._small[operation] = self.run(cost(self.small, operation, 100))
        small = self._small[operation]
        large = self.run(cost(self.large, operation, 100))
        told = []
        if large.rows > max(1.1 * small.rows, 1000) + 100:
            told.append(f"{small.rows} rows, {large.rows} in the large store")
        if large.blocks > max(2 * small.blocks, 2000) + 100:
            told.append(f"{small.blocks} blocks, {large.blocks} in the large store")
        if large.rows > 11 * few.rows + 100:
            told.append(f"{few.rows} rows for 10, {large.rows} for 100")
        if other := large.ways - operation.uses:
            told.append(f"found by {sorted(other)}")
        if large.found != (100 if operation.found(self.kind) else 0):
            told.append(f"{large.found} found")
        return told


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a server that knows nothing of its tables but what it is told."""
    with Server(settings=SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection to fill it."""
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        yield admin


PLACES = [(kind, mode) for kind in BACKLOGS for mode in MODES]


@pytest.fixture(scope="module")
def shelf() -> Iterator[list[Stores]]:
    """Keep the stores that were made last: what is known of them changes more often than they."""
    shelf: list[Stores] = []
    yield shelf
    for stores in shelf:
        stores.close()


@pytest.fixture(scope="module", params=PLACES, ids=" with ".join)
def stores(
    request: pytest.FixtureRequest,
    server: Server,
    admin: psycopg.Connection[Any],
    shelf: list[Stores],
) -> Stores:
    """Give stores with each backlog in turn, of which the planner knows one thing or another."""
    kind, mode = request.param
    if not shelf or shelf[0].kind != kind:
        for old in shelf:
            old.close()
        shelf[:] = [Stores(server.dsn, admin, kind, LARGE)]
    shelf[0].set_mode(mode)
    return shelf[0]


@pytest.mark.parametrize("name", OPERATIONS)
def test_postgres_operation_costs_the_same_in_any_backlog(stores: Stores, name: str) -> None:
    """As many rows among a million tasks as among 10,000, in proportion to the batch."""
    assert stores.troubles(OPERATIONS[name]) == []


@pytest.fixture
def little(
    request: pytest.FixtureRequest, server: Server, admin: psycopg.Connection[Any]
) -> Iterator[Callable[[str], Stores]]:
    """Give a maker of stores with a backlog, the large one not so large."""
    made: list[Stores] = []

    def make_stores(kind: str) -> Stores:
        made.append(Stores(server.dsn, admin, kind, 10 * SMALL))
        return made[0]

    yield make_stores
    for stores in made:
        stores.close()


def test_postgres_statements_are_all_guarded(
    little: Callable[[str], Stores], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new statement is in an operation here; counting looks at every row, and says so."""
    stores, sent, execute = little("mixed"), set(), Connection.execute

    async def note(connection: Connection, query: Any, *args: Any, **options: Any) -> Any:
        sent.add(query)
        return await execute(connection, query, *args, **options)

    monkeypatch.setattr(Connection, "execute", note)
    for operation in OPERATIONS.values():
        stores.run(cost(stores.large, operation, 10))

    missing = [
        name
        for file in FILES
        for name, statement in named(file, stores.large.schema).items()
        if statement not in sent
    ]
    assert missing == ["oldest", "counts", "version"]  # of sessions, of all, of one row


class Mutant(NamedTuple):
    """A part of a statement replaced, the operation that pays for it, and among what."""

    file: str
    part: str
    fault: str
    operation: str
    kind: str = "mixed"
    mode: str = "statistics"


MUTANTS: Mapping[str, Mutant] = {
    "claim in another order": Mutant(
        "claim.sql",
        "ORDER BY priority DESC, due_at, id\n        LIMIT least",
        "ORDER BY due_at, priority DESC, id\n        LIMIT least",
        "claim",
    ),
    "claim of any name": Mutant(
        "claim.sql", "name = wanted.name AND state = 3", "state = 3", "claim"
    ),
    "due times of all": Mutant(
        "claim.sql", "ORDER BY due_at LIMIT 1\n", "ORDER BY due_at + 0 LIMIT 1\n", "claim"
    ),
    "promote in another order": Mutant(
        "claim.sql",
        "ORDER BY due_at LIMIT %(most)s::integer",
        "ORDER BY id LIMIT %(most)s::integer",
        "promote and claim",
    ),
    "promote by a clock that no index condition can be": Mutant(
        "claim.sql",
        "AND due_at <= (extract(epoch FROM statement_timestamp())",
        "AND due_at <= (extract(epoch FROM clock_timestamp())",
        "promote and claim",
        "all scheduled",
    ),
    "settle by anything but the id": Mutant(
        "settle.sql",
        "WHERE task.id = item.id AND task.epoch = item.epoch AND task.claim_id = item.claim\n"
        "    AND task.state + 0 = 4\nRETURNING task.id::text;",
        "WHERE task.id::text = item.id::text AND task.epoch = item.epoch\n"
        "    AND task.claim_id = item.claim AND task.state + 0 = 4\nRETURNING task.id::text;",
        "settle",
    ),
    "renew by anything but the id": Mutant(
        "lease.sql",
        "SELECT task.id FROM item JOIN {schema}.task ON task.id = item.id, clock",
        "SELECT task.id FROM item JOIN {schema}.task ON task.id::text = item.id::text, clock",
        "renew",
    ),
    "reap by a clock that no index condition can be": Mutant(
        "lease.sql",
        "AND lease_until <= (extract(epoch FROM statement_timestamp())",
        "AND lease_until <= (extract(epoch FROM clock_timestamp())",
        "reap of none",
        "all running",
    ),
    "reap of rows by their ids": Mutant(
        "lease.sql",
        "task.ctid = ANY(ARRAY(SELECT place FROM overdue))",
        "id IN (SELECT id FROM {schema}.task JOIN overdue ON task.ctid = place)",
        "reap",
        "all lost or expired",
        "generic plans",
    ),
    "expired ones in no order": Mutant(
        "prune.sql",
        "ORDER BY expires_at LIMIT",
        "ORDER BY priority LIMIT",
        "prune: expired",
        "all lost or expired",
    ),
    "walk in the order of texts": Mutant(
        "prune.sql", "ORDER BY task.id LIMIT", "ORDER BY id LIMIT", "prune: remove"
    ),
    "strip by anything but the id": Mutant(
        "prune.sql",
        "on_end = NULL\nWHERE id = ANY(%(ids)s::uuid[])",
        "on_end = NULL\nWHERE id::text = ANY(%(ids)s::uuid[]::text[])",
        "prune: strip",
    ),
    "keys of all": Mutant(
        "prune.sql",
        "SELECT ctid AS place, task, until FROM {schema}.dedup WHERE task = gone.id OFFSET 0",
        "SELECT ctid AS place, task, until FROM {schema}.dedup WHERE task = gone.id",
        "prune: remove",
        "mostly finished",
        "no statistics",
    ),
    "names of all": Mutant(
        "read.sql",
        "AND task.name > found.name\n        ORDER BY queue, name LIMIT 1",
        "AND task.name > found.name\n        ORDER BY task.id LIMIT 1",
        "names",
    ),
    "fetch by anything but the id": Mutant(
        "read.sql",
        "WHERE id = ANY(%(ids)s::uuid[])",
        "WHERE id::text = ANY(%(ids)s::uuid[]::text[])",
        "fetch",
    ),
    "push that looks for a duplicate": Mutant(
        "push.sql",
        "FROM {schema}.task WHERE id = ANY(%(ids)s::uuid[])",
        "FROM {schema}.task WHERE id::text = ANY(%(ids)s::uuid[]::text[])",
        "insert, again",
    ),
    "cancel by anything but the id": Mutant(
        "cancel.sql",
        "WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE\n)",
        "WHERE id::text = ANY(%(ids)s::uuid[]::text[]) ORDER BY id FOR UPDATE\n)",
        "cancel",
    ),
    "page without a floor": Mutant(
        "board.sql",
        "AND task.id >= coalesce(floor.id, '00000000-0000-0000-0000-000000000000')",
        "",
        "page of a name that is not there",
    ),
}


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Give a function that replaces a part of a statement."""

    def change(file: str, part: str, fault: str) -> None:
        text = queries._FILES[file]
        assert text.count(part) == 1, text.count(part)
        monkeypatch.setitem(queries._FILES, file, text.replace(part, fault))
        queries.text.cache_clear()
        queries.named.cache_clear()

    yield change
    monkeypatch.undo()
    queries.text.cache_clear()
    queries.named.cache_clear()


@pytest.mark.parametrize("name", MUTANTS)
def test_plan_guard_finds_a_statement_that_reads_too_much(
    little: Callable[[str], Stores], changed: Callable[[str, str, str], None], name: str
) -> None:
    """By its rows, its blocks, or the index that it takes."""
    file, part, fault, operation, kind, mode = MUTANTS[name]
    stores = little(kind)
    stores.set_mode(mode)
    assert stores.troubles(OPERATIONS[operation]) == []

    changed(file, part, fault)

    assert stores.troubles(OPERATIONS[operation]) != []


INDEXES = {
    "task_ready": "claim",
    "task_future": "promote and claim",
    "task_running": "reap",
    "task_expiring": "prune: expired",
    "dedup_task": "prune: strip",
}


@pytest.mark.parametrize("index", INDEXES)
def test_plan_guard_finds_a_missing_index(little: Callable[[str], Stores], index: str) -> None:
    """All is read instead."""
    stores = little("mixed")
    stores.set_mode("statistics")
    for schema in ("small", "large"):
        stores.admin.execute(f"DROP INDEX {schema}.{index}".encode())

    assert stores.troubles(OPERATIONS[INDEXES[index]]) != []
