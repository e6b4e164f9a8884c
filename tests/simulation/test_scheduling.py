"""The simulation's own means: processes that stand still, and runs that are ended by force."""

import trio
from trio.testing import MockClock

from tests.simulation.scheduling import PROCESS, Process, allow_freezing, evict


def test_frozen_process_stands_still_while_time_goes_on() -> None:
    """Its timers fire late, all at once, and a process beside it notices nothing."""
    ticks: dict[str, list[float]] = {"frozen": [], "other": []}

    async def tick(process: Process) -> None:
        PROCESS.set(process)
        async with trio.open_nursery() as nursery:
            for delay in (1, 2, 6):
                nursery.start_soon(wait, process.name, delay)

    async def wait(name: str, delay: float) -> None:
        await trio.sleep(delay)
        ticks[name].append(trio.current_time())

    async def main() -> None:
        allow_freezing()
        frozen = Process("frozen")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick, frozen)
            nursery.start_soon(tick, Process("other"))
            await trio.sleep(1.5)
            frozen.freeze()
            await trio.sleep(3)
            frozen.thaw()
        assert frozen.stood_still == 3

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert ticks == {"frozen": [1, 4.5, 6], "other": [1, 2, 6]}


def test_evicted_tasks_end_in_spite_of_shields() -> None:
    """A run that has failed ends, whatever its workers wait for."""
    ended = []

    async def stubborn() -> None:
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
            ended.append(trio.current_time())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            await trio.sleep(5)
            trio.lowlevel.spawn_system_task(evict, nursery.cancel_scope)

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert len(ended) == 1
