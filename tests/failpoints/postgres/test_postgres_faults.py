"""Each operation of PostgreSQL, with each fault at each of its statements."""

from collections.abc import Callable
from unittest.mock import patch

import pytest

from layered.backends.postgres.lane import Lane
from tests.failpoints.postgres.bench import OPERATIONS, Bench, whole
from tests.failpoints.postgres.wire import FAULTS, At

ONCE = ("claim", "keeper's renew")
"""A claim is repeated by the worker that wants it; a keeper's connection is new."""


@pytest.fixture
def anyio_backend() -> str:
    """Run on one loop: cancellation has its own tests, on both."""
    return "asyncio"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_postgres_operation_is_whole_or_undone_when_a_statement_fails(
    bench: Callable[[], Bench], operation: str, fault: str
) -> None:
    """It says what went wrong, leaves no half state and no lock, and can be done again at once."""
    chosen, (strike, error, again, every) = OPERATIONS[operation], FAULTS[fault]
    statements, stages = await whole(bench(), operation)
    impatient = {"limit": 0.2} if fault == "too slow" else {}

    for number, statement in enumerate(statements):
        failing = bench()
        async with failing.opened():
            with patch.dict(Lane.run.__kwdefaults__, impatient):
                outcome = await failing.attempt(chosen, At(number, strike, every=every))

            if statement == "ROLLBACK" and not isinstance(outcome, Exception):
                assert outcome == chosen.first
            elif again and operation not in ONCE:
                assert not isinstance(outcome, Exception), statement
                assert chosen.parts > 1 or outcome in (chosen.first, chosen.again), statement
            else:
                assert type(outcome) is error, (statement, outcome)
            await failing.check(chosen, stages)
            await failing.check_all_ends()
