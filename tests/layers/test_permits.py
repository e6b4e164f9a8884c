import anyio
import pytest
from anyio import wait_all_tasks_blocked

from layered import Permits, WrongState
from tests.layers.permit_checks import CHECKS, Check

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_permits_keep_their_rules(check: Check) -> None:
    """Each rule at the head of the class, under cancellation."""
    await check(Permits)


async def test_permits_let_those_who_ask_sleep_again_when_the_place_is_gone() -> None:
    """A place that came and went does not make them spin."""
    permits = Permits(1)
    await permits.acquire()

    async with anyio.create_task_group() as group:
        group.start_soon(permits.available)
        await wait_all_tasks_blocked()
        permits.release()
    await permits.acquire()
    with anyio.move_on_after(60) as gave_up:
        await permits.available()

    assert gave_up.cancelled_caught


async def test_permits_show_what_is_free_and_who_waits() -> None:
    """A stuck program can be read."""
    permits = Permits(2)
    await permits.acquire()

    async with anyio.create_task_group() as group:
        group.start_soon(permits.acquire)
        await wait_all_tasks_blocked()
        group.start_soon(permits.acquire)
        await wait_all_tasks_blocked()

        assert repr(permits) == "<Permits 0 of 2 free, 1 waiting>"
        permits.release()


def test_permits_refuse_a_release_of_what_nobody_took() -> None:
    """A second release would raise the limit silently."""
    permits = Permits(2)

    with pytest.raises(WrongState, match="none is taken"):
        permits.release()

    assert permits.free == 2


async def test_permits_refuse_waiters_of_a_second_event_loop() -> None:
    """Waking a loop from another thread's wakes nobody: an error, not a hang."""
    permits = Permits(1)
    await permits.acquire()

    async def wait_elsewhere() -> None:
        with anyio.fail_after(5):
            await permits.acquire()

    async with anyio.create_task_group() as group:
        group.start_soon(permits.acquire)
        await wait_all_tasks_blocked()
        with pytest.raises(WrongState, match="others wait on another loop"):
            await anyio.to_thread.run_sync(anyio.run, wait_elsewhere)
        permits.release()


def test_permits_serve_one_event_loop_after_another() -> None:
    """What is idle belongs to no loop."""
    permits = Permits(1)

    async def contend() -> None:
        await permits.acquire()
        async with anyio.create_task_group() as group:
            group.start_soon(permits.acquire)
            await wait_all_tasks_blocked()
            permits.release()
        permits.release()

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(contend, backend=backend)

    assert permits.free == 1
