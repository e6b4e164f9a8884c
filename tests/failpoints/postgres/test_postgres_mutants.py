"""The failpoints can fail: each fault put into the way to PostgreSQL is found."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

import pytest

from layered.backends.postgres import connection as connections, lane as lanes
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.lane import Lane
from layered.errors import BackendBroken, BackendError
from tests.failpoints.postgres import test_postgres_cancellation, test_postgres_faults
from tests.failpoints.postgres.bench import Bench

Make: TypeAlias = Callable[[], Bench]
Check: TypeAlias = Callable[[Make], Awaitable[object]]


@pytest.fixture
def anyio_backend() -> str:
    """Run on one loop: the faults are in what both have in common."""
    return "asyncio"


def failing(operation: str, fault: str) -> Check:
    """Have each statement of an operation fail."""
    test = test_postgres_faults.test_postgres_operation_is_whole_or_undone_when_a_statement_fails
    return lambda bench: test(bench, operation, fault)


def leaving(operation: str) -> Check:
    """Cancel the caller of an operation at each wait."""
    module = test_postgres_cancellation
    test = module.test_postgres_operation_is_whole_or_undone_when_its_caller_is_cancelled
    return lambda bench: test(bench, operation, heard=False)


@asynccontextmanager
async def apart(self: Connection) -> AsyncIterator[None]:
    """Commit each statement by itself."""
    yield


async def drive_and_leave(gen: Any) -> Any:
    """Drive a generator, and leave it as it is when that is cancelled."""
    KEPT.append(gen)
    socket, wanted = next(gen)
    try:
        while True:
            socket, wanted = gen.send(await connections._ready(socket, wanted))
    except StopIteration as stop:
        return stop.value


KEPT: list[Any] = []
"""What the garbage collector does not find yet."""


def drop_nothing(self: Lane) -> None:
    """Keep the connection, whatever became of it."""


async def repeat_all(self: Lane, work: Any, *, again: bool = True, limit: float = 10.0) -> Any:
    """Do the work until it is done."""
    async with self._turn:
        while True:
            try:
                return await self._once(work)
            except BackendBroken:
                continue


class Mutant(NamedTuple):
    """What stands in for what, and who finds it."""

    owner: Any
    name: str
    fault: object
    check: Check


MUTANTS: Mapping[str, Mutant] = {
    "a lost connection is kept": Mutant(
        Lane, "_drop_if_broken", drop_nothing, failing("fetch", "each session lost")
    ),
    "an error commits": Mutant(
        Connection, "together", apart, failing("insert with keys", "disk full")
    ),
    "a session is left behind while connecting": Mutant(
        connections, "_drive", drive_and_leave, leaving("keeper's renew")
    ),
    "a claim is repeated": Mutant(Lane, "run", repeat_all, failing("claim", "session lost after")),
    "an error is not translated": Mutant(
        lanes, "translate", lambda _, where: BackendError(where), failing("renew", "deadlock")
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
async def test_failpoints_find_a_fault_of_the_way_to_postgres(
    bench: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The check fails that is named with the fault."""
    owner, attribute, fault, check = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, fault)

    with pytest.raises((AssertionError, BackendError)):
        await check(bench)

    KEPT.clear()
