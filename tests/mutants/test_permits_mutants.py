"""The checks of `Permits` can fail: each finds the fault that it is there for."""

import anyio
import pytest

from layered import Permits
from tests.layers.permit_checks import (
    Check,
    keeps_the_limit_and_leaks_nothing,
    passes_on_a_place_given_to_a_cancelled_caller,
    serves_in_the_order_of_arrival,
    wakes_all_that_only_ask,
)

pytestmark = pytest.mark.virtual_time


class LeaksWhenCancelled(Permits):
    """Keeps the place that was handed to a caller which was cancelled."""

    async def acquire(self) -> None:
        if self.free > 0:
            self.free -= 1
            return
        turn = anyio.Event()
        self._queue[turn] = None
        try:
            await turn.wait()
        except BaseException:
            self._queue.pop(turn, None)
            raise


class GrantsTwice(Permits):
    """Frees the place although it was handed on."""

    def release(self) -> None:
        if self._queue:
            turn, _ = self._queue.popitem(last=False)
            turn.set()
        self.free += 1


class WakesOne(Permits):
    """Wakes one of those that ask, as if it were going to call."""

    async def available(self) -> None:
        while self.free <= 0:
            self._available = anyio.Event()  # forgets who asked before
            await self._available.wait()


class LastInFirstOut(Permits):
    """Serves who came last."""

    def release(self) -> None:
        if self._queue:
            turn, _ = self._queue.popitem(last=True)
            turn.set()
            return
        super().release()


class Overtaking(Permits):
    """Frees the place for anybody, instead of handing it to the first in the queue."""

    def release(self) -> None:
        self.free += 1
        if self._queue:
            turn, _ = self._queue.popitem(last=False)
            turn.set()

    async def acquire(self) -> None:
        while self.free <= 0:
            turn = anyio.Event()
            self._queue[turn] = None
            try:
                await turn.wait()
            finally:
                self._queue.pop(turn, None)
        self.free -= 1


@pytest.mark.parametrize(
    ("mutant", "check"),
    [
        (LeaksWhenCancelled, keeps_the_limit_and_leaks_nothing),
        (LeaksWhenCancelled, passes_on_a_place_given_to_a_cancelled_caller),
        (GrantsTwice, keeps_the_limit_and_leaks_nothing),
        (WakesOne, wakes_all_that_only_ask),
        (LastInFirstOut, serves_in_the_order_of_arrival),
        (Overtaking, serves_in_the_order_of_arrival),
    ],
)
async def test_a_check_of_permits_finds_the_fault(mutant: type[Permits], check: Check) -> None:
    """The check passes for `Permits` and fails for this."""
    await check(Permits)

    with pytest.raises(AssertionError):
        await check(mutant)
