"""What an operation of SQLite costs does not grow with the backlog, at a million tasks."""

import importlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from layered.backends import sqlite
from layered.backends.sqlite import settle
from layered.backends.sqlite.queries import named
from tests.plans.backlogs import BACKLOGS, made
from tests.plans.costs import OPERATIONS, Recording, cost, opened, statements, ways
from tests.plans.operations import Operation

PACKAGE = Path(sqlite.__file__).parent
SMALL, LARGE = 10_000, 1_000_000
FILES = sorted({path.name for path in PACKAGE.glob("*.sql")} - {"schema.sql"})


class Stores(NamedTuple):
    """A small and a large store with the same kind of backlog."""

    kind: str
    small: Recording
    large: Recording


@pytest.fixture(scope="module", params=BACKLOGS)
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stores]:
    """Give stores with each backlog in turn; their files are removed before the next are made."""
    folder = tmp_path_factory.mktemp("plans")
    with ExitStack() as stack:
        yield two(stack, folder, request.param, SMALL, LARGE)


def two(stack: ExitStack, folder: Path, kind: str, small: int, large: int) -> Stores:
    """Make two stores, until the *stack* is closed."""
    paths = [stack.enter_context(made(folder, kind, size)) for size in (small, large)]
    return Stores(kind, *(stack.enter_context(opened(path)) for path in paths))


def growth(stores: Stores, operation: Operation) -> list[str]:
    """Say where the cost of an operation grows with the backlog, or faster than its batch."""
    small, large = (
        {count: cost(store, operation, count) for count in (10, 100)}
        for store in (stores.small, stores.large)
    )
    grown = [
        f"batch of {count}: {small[count].steps} steps, {large[count].steps} in the large store"
        for count in (10, 100)
        if large[count].steps > 1.1 * small[count].steps + 20
    ]
    if large[100].steps > 11 * large[10].steps:
        grown.append(f"{large[10].steps} steps for 10, {large[100].steps} for 100")
    return grown


@pytest.mark.parametrize("name", OPERATIONS)
def test_sqlite_operation_costs_the_same_in_any_backlog(stores: Stores, name: str) -> None:
    """As many steps among a million tasks as among 10,000, and in proportion to the batch."""
    operation = OPERATIONS[name]

    grown = growth(stores, operation)

    assert grown == []
    found = cost(stores.large, operation, 100).found
    assert found == (100 if operation.found(stores.kind) else 0)


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Stores]:
    """Give two small stores with a mixed backlog."""
    with ExitStack() as stack:
        yield two(stack, tmp_path, "mixed", 3_000, 20_000)


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_sqlite_operation_finds_its_rows_by_an_index(
    little: Stores, name: str, analyzed: bool
) -> None:
    """It reads no table to its end and sorts nothing, whatever the planner knows."""
    if analyzed:
        little.small.execute("ANALYZE")

    assert ways(little.small, OPERATIONS[name], 10) == OPERATIONS[name].uses


def test_sqlite_statements_are_all_guarded(little: Stores) -> None:
    """A new statement is in an operation here; counting looks at every row, and says so."""
    run = {
        statement
        for operation in OPERATIONS.values()
        for statement, _ in statements(little.small, operation, 10)
    }
    missing = [
        name
        for file in FILES
        for name, statement in named(file).items()
        if not any(each.startswith(statement.split("{rows}")[0]) for each in run)
    ]

    assert missing == ["counts"]


class Mutant(NamedTuple):
    """A part of a statement replaced, and the operation that pays for it."""

    where: str
    part: str
    fault: str
    operation: str


RARE = "page of a name that is not there"
MUTANTS: Mapping[str, Mutant] = {
    "claim without its index": Mutant(
        "claim._PICK", "INDEXED BY task_ready", "NOT INDEXED", "claim"
    ),
    "claim in another order": Mutant(
        "claim._PICK", "ORDER BY priority DESC, due_at", "ORDER BY due_at, priority DESC", "claim"
    ),
    "due times without their index": Mutant(
        "claim._NEXT_DUE", "INDEXED BY task_future", "NOT INDEXED", "claim"
    ),
    "promote in another order": Mutant(
        "claim._PROMOTE", "ORDER BY due_at", "ORDER BY id", "promote and claim"
    ),
    "settle of one by anything but the id": Mutant(
        "settle._DEAD", "WHERE id =", "WHERE +id =", "settle, dead"
    ),
    "settle of many by anything but the id": Mutant(
        "settle._ALL_DONE",
        "WHERE id = item.column4 AND epoch = item.column5 AND claim_id = item.column6 AND state",
        "WHERE +id = item.column4 AND epoch = item.column5 AND claim_id = item.column6 AND +state",
        "settle",
    ),
    "settled without the id": Mutant(
        "settle._SETTLED", "WHERE id =", "WHERE +id =", "settle, again"
    ),
    "release by anything but the id": Mutant(
        "settle._RELEASE", "WHERE id =", "WHERE +id =", "release"
    ),
    "renew by anything but the id": Mutant(
        "lease._RENEW", "WHERE task.id =", "WHERE +task.id =", "renew"
    ),
    "reap without its index": Mutant(
        "lease._OVERDUE", "INDEXED BY task_running", "NOT INDEXED", "reap"
    ),
    "prune in another order": Mutant(
        "prune._WALK", "ORDER BY seq", "ORDER BY created_at, seq", "prune: remove"
    ),
    "expired without their index": Mutant(
        "prune._OVERDUE", "INDEXED BY task_expiring", "NOT INDEXED", "prune: expired"
    ),
    "names of all": Mutant("read._NAMES", "INDEXED BY task_ready", "NOT INDEXED", "names"),
    "fetch by anything but the id": Mutant(
        "read._FETCH", "WHERE task.id =", "WHERE +task.id =", "fetch"
    ),
    "push that looks for a duplicate": Mutant(
        "push._STATE", "WHERE id =", "WHERE +id =", "insert, again"
    ),
    "replaced by anything but the id": Mutant(
        "push._REPLACE", "WHERE id =", "WHERE +id =", "insert, to replace"
    ),
    "holder of any key": Mutant("dedup._HOLDER", "dedup.queue =", "+dedup.queue =", "holder"),
    "holder by anything but the id": Mutant(
        "dedup._HOLDER", "task.id = dedup.task", "+task.id = dedup.task", "insert with held keys"
    ),
    "cancel by anything but the id": Mutant(
        "cancel._CANCEL", "WHERE id =", "WHERE +id =", "cancel"
    ),
    "cancel that looks for what has ended": Mutant(
        "cancel._LOOK", "WHERE id =", "WHERE +id =", "cancel, again"
    ),
    "requeue by anything but the id": Mutant(
        "cancel._REQUEUE", "WHERE id =", "WHERE +id =", "requeue"
    ),
    "page of all": Mutant(
        "read._FLOOR", "SELECT id FROM task WHERE id <", "SELECT '' FROM task WHERE +id <", RARE
    ),
    "page in another order": Mutant("read._PAGE", "ORDER BY id", "ORDER BY created_at", "page"),
    "progress by anything but the id": Mutant(
        "progress._PROGRESS", "WHERE id =", "WHERE +id =", "progress"
    ),
    "checkpoint by anything but the id": Mutant(
        "progress._KEEP", "WHERE id =", "WHERE +id =", "checkpoint"
    ),
    "checkpoint of any task": Mutant(
        "progress._KEPT", "checkpoint.task =", "+checkpoint.task =", "checkpoint, again"
    ),
    "checkpoints of any task": Mutant("progress._STEPS", "task =", "+task =", "checkpoints"),
    "keys of all are looked at": Mutant(
        "prune._FREE", "(queue, key, task) IN", "(+queue, key, task) IN", "prune: remove"
    ),
    "steps of all are looked at": Mutant(
        "prune._DROP", "INDEXED BY checkpoint_step", "NOT INDEXED", "prune: remove"
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_plan_guard_finds_a_statement_that_reads_too_much(
    little: Stores, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By its steps and by its plan."""
    where, part, fault, operation = MUTANTS[name]
    module, _, constant = where.partition(".")
    target = f"layered.backends.sqlite.{module}"
    text: str = getattr(importlib.import_module(target), constant)
    assert part in text

    monkeypatch.setattr(f"{target}.{constant}", text.replace(part, fault))
    settle._all_done_sql.cache_clear()
    try:
        grown = growth(little, OPERATIONS[operation])
        used = ways(little.small, OPERATIONS[operation], 10)
    finally:
        settle._all_done_sql.cache_clear()

    assert grown != []
    assert used != OPERATIONS[operation].uses


INDEXES = {
    "task_ready": "claim",
    "task_future": "promote and claim",
    "task_running": "reap",
    "task_expiring": "prune: expired",
}


@pytest.mark.parametrize("index", INDEXES)
def test_plan_guard_finds_a_missing_index(little: Stores, index: str) -> None:
    """The statement names it, so it fails instead of reading all."""
    little.small.execute(f"DROP INDEX {index}")

    with pytest.raises(sqlite3.OperationalError, match="no such index"):
        growth(little, OPERATIONS[INDEXES[index]])
