"""`FakeClock`: one clock for the event loop and the storage."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from layered import MemoryStorage, SqliteStorage, Status, WorkerBuilder, WrongState
from layered.testing import FakeClock

START = datetime(2031, 5, 4, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    """Give the clock of a test."""
    return FakeClock(START)


class TestOnVirtualTime:
    """Tests whose event loop goes by the clock, as a user's tests would."""

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(
        self, request: pytest.FixtureRequest, clock: FakeClock
    ) -> tuple[str, dict[str, Any]]:
        """Give the loop that goes by the clock of the test."""
        return clock.backend(request.param)

    async def test_clock_goes_with_the_loop(self, clock: FakeClock) -> None:
        """It stands still while code runs, and is advanced at once."""
        before = clock.now, anyio.current_time()

        await clock.advance(86400)

        assert before == (START, 0)
        assert clock.now == START + timedelta(days=1)
        assert clock() == START.timestamp() + 86400

    async def test_delayed_task_runs_when_the_clock_says_so(self, clock: FakeClock) -> None:
        """Not before, and at the instant that a user chose."""
        ran: list[datetime] = []

        async def note(number: int) -> None:
            ran.append(clock.now)

        storage = MemoryStorage(int, now=clock)
        worker = WorkerBuilder("w").backend(storage).build(note)
        await storage.push(1, at=START + timedelta(hours=2))
        await storage.push(2, delay=3600)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            await clock.advance(3599)
            early = list(ran)
            await clock.advance(3602)
            worker.context.stop()

        assert early == []
        assert [one.replace(microsecond=0) for one in ran] == [
            START + timedelta(hours=1),
            START + timedelta(hours=2),
        ]

    async def test_step_moves_the_wall_clock_alone(self, clock: FakeClock) -> None:
        """As when somebody sets the clock of the machine."""
        clock.step(-60)

        assert clock.now == START - timedelta(minutes=1)
        assert anyio.current_time() == 0


async def test_stepped_clock_makes_tasks_of_sqlite_due(clock: FakeClock, tmp_path: Path) -> None:
    """On a real loop, where the storage's thread takes real time."""

    async def note(number: int) -> None: ...

    async with SqliteStorage(tmp_path / "tasks.db", int, now=clock) as storage:
        pushed = await storage.push(1, delay=3600)
        worker = WorkerBuilder("w").backend(storage).build(note)
        await worker.run(burst=True)
        before = await storage.get(pushed.id)

        clock.step(3600)
        await worker.run(burst=True)
        after = await storage.get(pushed.id)

    assert (before and before.status, after and after.status) == (Status.SCHEDULED, Status.DONE)


async def test_clock_refuses_to_advance_where_no_loop_goes_by_it(clock: FakeClock) -> None:
    """It would sleep in real time."""
    with pytest.raises(WrongState, match=r"no event loop goes by this clock.*step\(3600\)"):
        await clock.advance(3600)


def test_clock_of_an_unknown_loop_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="use 'asyncio' or 'trio'"):
        FakeClock().backend("curio")
