from typing import Any

import anyio
import pytest

from layered.service.clock import loop_clock, loop_token, scope_class
from layered.testing import virtual_backend


async def test_loop_clock_is_the_running_loops() -> None:
    """The same clock that anyio reads."""
    clock = loop_clock()

    before, now, after = anyio.current_time(), clock(), anyio.current_time()

    assert before <= now <= after


@pytest.mark.virtual_time
async def test_loop_clock_moves_with_virtual_time() -> None:
    """A clock that was looked up once goes on."""
    clock = loop_clock()
    start = clock()

    await anyio.sleep(3600)

    assert clock() - start == 3600


@pytest.mark.virtual_time
async def test_scope_class_makes_scopes_of_the_running_loop() -> None:
    """They take a deadline and catch what they cancel."""
    make = scope_class()

    with make(deadline=loop_clock()() + 5) as scope:
        await anyio.sleep(60)

    assert scope.cancelled_caught


def test_loop_token_tells_one_run_from_another() -> None:
    """The same within a run, another in the next."""

    async def ask() -> tuple[object, bool]:
        first = loop_token()
        await anyio.lowlevel.checkpoint()
        return first, loop_token() is first

    for name in ("asyncio", "trio"):
        runs: list[Any] = []
        for _ in range(2):
            backend, options = virtual_backend(name)
            runs.append(anyio.run(ask, backend=backend, backend_options=options))
        (one, same), (other, same_again) = runs
        assert same
        assert same_again
        assert one is not other


@pytest.mark.parametrize("ask", [loop_clock, loop_token])
def test_the_loop_is_asked_for_in_vain_where_none_runs(ask: Any) -> None:
    """Better than the clock of a loop that is not there."""
    with pytest.raises(RuntimeError):
        ask()
