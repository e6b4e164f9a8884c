"""What every `Permits` must do, as functions of its class: for the real one and for mutants."""

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
from anyio import wait_all_tasks_blocked

from layered import Permits

Check = Callable[[type[Permits]], Awaitable[None]]


class Storm:
    """
    Calls that come, wait, are cancelled and end at random times, all from one seed.

    Times lie on a coarse grid, so that a place is often handed to a caller
    in the very turn in which it is cancelled.
    """

    def __init__(self, permits: Permits, seed: int) -> None:
        self.permits = permits
        self.random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.active = self.peak = self.arrivals = self.cancelled = 0
        self.granted: list[tuple[int, float]] = []
        """Number in the order of arrival, and time, of each place taken."""

    async def run(self, calls: int) -> None:
        """Run so many calls to their ends."""
        async with anyio.create_task_group() as group:
            for _ in range(calls):
                comes, holds, patience = (self.random.randrange(n) for n in (200, 8, 30))
                group.start_soon(self._call, comes, holds, patience)

    async def _call(self, comes: float, holds: float, patience: float) -> None:
        await anyio.sleep(comes)
        number, self.arrivals = self.arrivals, self.arrivals + 1
        with anyio.move_on_after(patience) as scope:
            await self.permits.acquire()
            try:
                self.granted.append((number, anyio.current_time()))
                with self._held():
                    await anyio.sleep(holds)
            finally:
                self.permits.release()
        self.cancelled += scope.cancelled_caught

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            yield
        finally:
            self.active -= 1


async def keeps_the_limit_and_leaks_nothing(make: type[Permits]) -> None:
    """1,200 calls, many of them cancelled: never above the limit, all places free at the end."""
    for seed in range(3):
        permits = make(5)
        storm = Storm(permits, seed)

        await storm.run(400)

        assert storm.peak == 5, f"seed {seed}: {storm.peak} at once"
        assert storm.cancelled > 50, f"seed {seed}: only {storm.cancelled} cancelled"
        assert (permits.free, permits.waiting) == (5, 0), f"seed {seed}: {permits!r}"


async def serves_in_the_order_of_arrival(make: type[Permits]) -> None:
    """Nobody who came later gets a place earlier."""
    for seed in range(3):
        storm = Storm(make(5), seed)

        await storm.run(400)

        times = [time for _, time in sorted(storm.granted)]
        assert times == sorted(times), f"seed {seed}: overtaken"


async def wakes_all_that_only_ask(make: type[Permits]) -> None:
    """One that asked and went away does not keep a free place from the others."""
    permits = make(1)
    await permits.acquire()
    asked = 0

    async def ask() -> None:
        nonlocal asked
        await permits.available()
        asked += 1

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        await wait_all_tasks_blocked()
        permits.release()
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert asked == 3


async def passes_on_a_place_given_to_a_cancelled_caller(make: type[Permits]) -> None:
    """A turn that came in the instant of the cancellation goes to the next."""
    permits = make(1)
    await permits.acquire()
    leaving = anyio.CancelScope()
    served = anyio.Event()

    async def leave() -> None:
        with leaving:
            await permits.acquire()
            permits.release()

    async def stay() -> None:
        await permits.acquire()
        served.set()

    async with anyio.create_task_group() as group:
        group.start_soon(leave)
        await wait_all_tasks_blocked()
        group.start_soon(stay)
        await wait_all_tasks_blocked()
        leaving.cancel()
        permits.release()
        with anyio.move_on_after(60):
            await served.wait()
        group.cancel_scope.cancel()

    assert served.is_set()


CHECKS: tuple[Check, ...] = (
    keeps_the_limit_and_leaks_nothing,
    serves_in_the_order_of_arrival,
    wakes_all_that_only_ask,
    passes_on_a_place_given_to_a_cancelled_caller,
)
