"""
What all tests share: the event loops they run on, and what may not happen there.

An async test runs once per loop in `LOOPS`. With ``@pytest.mark.virtual_time``
the clock of that loop jumps to the next deadline instead of waiting for it.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from blockbuster import blockbuster_ctx

from tests.servers.fixtures import postgres, postgres_schema  # noqa: F401 - fixtures

LOOPS = ["asyncio", "trio"]
if sys.version_info >= (3, 12):
    LOOPS.append("asyncio+eager")

# Timing differs from run to run on a busy machine, so no deadline. The only fixture
# that generated examples share is the name of the loop, which has no state.
hypothesis.settings.register_profile(
    "layered",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("layered")


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Give the loop for one test, as anyio's pytest plugin asks for it."""
    name, _, eager = request.param.partition("+")
    options: dict[str, Any] = {"debug": True} if name == "asyncio" else {}
    if request.node.get_closest_marker("virtual_time"):
        from layered.testing.clock import virtual_backend

        name, options = virtual_backend(name)
    if eager:
        make_loop = options.get("loop_factory", asyncio.new_event_loop)
        options = {**options, "loop_factory": with_eager_tasks(make_loop)}
    return name, options


def with_eager_tasks(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> Callable[[], asyncio.AbstractEventLoop]:
    """Let the loops of *make_loop* run a new task at once up to its first suspension."""

    def make_eager_loop() -> asyncio.AbstractEventLoop:
        loop = make_loop()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    return make_eager_loop


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[None]:
    """Fail a test in which layered makes a blocking call on an asyncio event loop."""
    with blockbuster_ctx("layered"):
        yield
