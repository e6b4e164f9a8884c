"""Each operation of PostgreSQL, its caller cancelled at each wait for the server."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tests.failpoints.operations import Operation
from tests.failpoints.postgres.bench import OPERATIONS, Bench, whole
from tests.failpoints.postgres.wire import Run, go_on


class Leaves:
    """
    Does an operation, and cancels it at the wait of this number, counted from 0.

    Args:
        bench: Where.
        number: At which wait.
        heard: Whether what was waited for has come by then.
    """

    def __init__(self, bench: Bench, number: int, *, heard: bool) -> None:
        self._bench = bench
        self._number = number
        self._heard = heard
        self._scope = anyio.CancelScope()
        self.count = 0
        self.answer: object = None
        self.cancelled = False

    async def stop(self, run: Run) -> Any:
        """Count, and cancel."""
        number, self.count = self.count, self.count + 1
        if number != self._number:
            return await run()
        if not self._heard:
            self._scope.cancel()
        found = await run()
        self._scope.cancel()
        return found

    async def run(self, operation: Operation) -> None:
        """Do it."""
        self._bench.wire.stop = self.stop
        try:
            with self._scope:
                self.answer = await operation.run(self._bench.storage, self._bench.fences)
        finally:
            self._bench.wire.stop = go_on
        self.cancelled = self._scope.cancelled_caught


@pytest.mark.parametrize("heard", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_postgres_operation_is_whole_or_undone_when_its_caller_is_cancelled(
    bench: Callable[[], Bench], operation: str, heard: bool
) -> None:
    """At each wait: no half state, no lock, no session lost, and the next caller is served."""
    chosen = OPERATIONS[operation]
    _, stages = await whole(bench(), operation)
    number, cancelled = 0, 0

    while True:
        left = bench()
        async with left.opened():
            leaves = Leaves(left, number, heard=heard)
            await leaves.run(chosen)

            cancelled += leaves.cancelled
            assert leaves.cancelled or leaves.answer == chosen.first
            await left.check(chosen, stages)
            await left.check_all_ends()
        if leaves.count <= number:
            break
        number += 1
    assert cancelled > 0 or heard  # who has heard all is not cancelled any more
