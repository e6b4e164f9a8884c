"""Each operation of SQLite, with each fault at each of its statements."""

from collections.abc import Callable

import pytest

from tests.failpoints.sqlite_bench import OPERATIONS, READS, Bench, whole
from tests.failpoints.sqlite_wire import FAULTS, At


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

            if statement in absorbed or again:
                assert outcome == chosen.first
            else:
                assert type(outcome) is error, (statement, outcome)
                assert outcome.__cause__ is not None
            await failing.check(chosen, stages)
            await failing.check_all_ends()
