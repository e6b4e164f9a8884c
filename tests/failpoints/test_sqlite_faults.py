"""Each operation of SQLite, with each fault at each of its statements."""

from collections.abc import Callable
from pathlib import Path

import pytest

from layered.backends.sqlite import SqliteStorage
from layered.errors import BackendError
from layered.task import Status
from tests.failpoints.sqlite_bench import OPERATIONS, READS, Bench, check_closed, whole
from tests.failpoints.sqlite_wire import FAULTS, At, Wire, lost_before, pass_on


@pytest.fixture
def anyio_backend() -> str:
    """Run on one loop: what fails here is in the thread, and cancellation has its own tests."""
    return "asyncio"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_sqlite_operation_is_whole_or_undone_when_a_statement_fails(
    bench: Callable[[], Bench], operation: str, fault: str
) -> None:
    """It says what went wrong, leaves no half state and no lock, and can be done again at once."""
    chosen, (strike, error, absorbed) = OPERATIONS[operation], FAULTS[fault]
    statements, stages = await whole(bench(), chosen)
    again = operation in READS and fault == "interrupted"

    for number, statement in enumerate(statements):
        failing = bench()
        async with failing.opened():
            hook = At(number, strike)
            outcome = await failing.attempt(chosen, hook)

            if statement in (*absorbed, "ROLLBACK") or again:
                assert outcome == chosen.first
            else:
                assert type(outcome) is error, (statement, outcome)
                assert outcome.__cause__ is not None
            await failing.check(chosen, stages)
            await failing.check_all_ends()


@pytest.mark.parametrize("made", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_sqlite_opens_after_an_opening_that_failed(
    tmp_path: Path, wire: Wire, fault: str, made: bool
) -> None:
    """At any statement of it, creation included: nothing is left open, and the file is good."""
    strike, error, absorbed = FAULTS[fault]
    number, hook = 0, At(0, pass_on)

    while number <= len(hook.statements):
        path = tmp_path / f"{number}.db"
        storage: SqliteStorage[str] = SqliteStorage(path, str)
        if made:
            async with storage:
                pass
        wire.hook = hook = At(number, strike)
        outcome = await opening(storage)
        if hook.struck is None or hook.struck in absorbed:
            assert outcome is None
        else:
            assert type(outcome) is error, (hook.struck, outcome)
        check_closed(path, wire)
        wire.hook = pass_on

        async with storage:
            await storage.push("x")
            assert await storage.counts("default") == {"str": {Status.READY: 1}}
        check_closed(path, wire)
        number += 1


async def opening(storage: SqliteStorage[str]) -> BackendError | None:
    """Open and close a storage; answer why it could not be opened."""
    try:
        async with storage:
            return None
    except BackendError as error:
        return error


@pytest.mark.parametrize("operation", ["insert", "fetch", "keeper's renew"])
async def test_sqlite_makes_no_file_anew_when_it_was_removed_and_the_connection_lost(
    bench: Callable[[], Bench], operation: str
) -> None:
    """A folder whose disk was unmounted gets no empty store; with the file back, all goes on."""
    chosen, removed = OPERATIONS[operation], bench()
    kept = removed.path.with_name("kept")
    async with removed.opened():
        await removed.attempt(chosen, At(0, lost_before))
        removed.path.rename(kept)

        outcome = await removed.attempt(chosen, pass_on)

        assert isinstance(outcome, BackendError)
        assert not removed.path.exists()
        kept.rename(removed.path)
        assert await removed.attempt(chosen, pass_on) == chosen.first
