import socket
import time

import anyio
import pytest

from layered import MemoryStorage
from layered.backend import Claimant
from layered.testing import virtual_backend

pytestmark = pytest.mark.virtual_time


async def test_virtual_time_flies_where_everything_waits() -> None:
    """A hundred years are over at once, to the second."""
    began, start = time.monotonic(), anyio.current_time()

    for _ in range(100):
        await anyio.sleep(365 * 24 * 3600)

    assert anyio.current_time() - start == 100 * 365 * 24 * 3600
    assert time.monotonic() - began < 20


async def test_virtual_time_starts_at_zero_and_stands_still_while_code_runs() -> None:
    """The same times in every run."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()

    assert anyio.current_time() == 0


async def test_virtual_time_keeps_the_order_of_timers() -> None:
    """Each wakes at its own time."""
    woken: list[tuple[float, float]] = []

    async def sleep(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((seconds, anyio.current_time()))

    async with anyio.create_task_group() as group:
        for seconds in (3, 1, 0.25, 2, 1000):
            group.start_soon(sleep, seconds)

    assert woken == [(seconds, seconds) for seconds in (0.25, 1, 2, 3, 1000)]


async def test_virtual_time_ends_scopes_at_their_deadlines() -> None:
    """Time limits take no time either."""
    with anyio.move_on_after(3600) as scope:
        await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert anyio.current_time() == 3600


async def test_virtual_time_waits_for_what_happens_outside() -> None:
    """Without a timer the loop waits for threads and sockets, as ever."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)

        def write() -> None:
            theirs.sendall(b"x")

        async def read() -> None:
            await anyio.wait_readable(ours)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.to_thread.run_sync(write)

    assert anyio.current_time() == 0


async def test_virtual_time_stands_still_for_what_is_there_already() -> None:
    """A socket that can be read is read before the clock moves to a timer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(b"x")

        with anyio.fail_after(3600):
            await anyio.wait_readable(ours)

    assert anyio.current_time() == 0


async def test_virtual_time_makes_a_task_in_memory_due_when_its_delay_is_over() -> None:
    """To the microsecond, whenever the test began and however long it waits."""
    due = 0
    for tenths in range(1, 301):
        storage = MemoryStorage(str)
        await storage.push("x", delay=tenths / 10)
        await anyio.sleep(tenths / 10)
        due += len((await storage.claim(Claimant("default", "me"), {"str": 1}, 1)).leases)

    assert due == 300


@pytest.mark.parametrize("name", ["curio", "uvloop"])
def test_virtual_backend_refuses_other_loops(name: str) -> None:
    """There is no virtual time for them."""
    with pytest.raises(ValueError, match=f"event loop '{name}': there is none"):
        virtual_backend(name)
