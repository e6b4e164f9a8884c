"""Whether random schedules find a fault: the tests of this folder can fail."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from hypothesis import Phase, find, settings
from hypothesis.strategies import SearchStrategy

from layered.testing import virtual_backend

T = TypeVar("T")

EXAMPLES = 500
"""Schedules among which a fault must show itself."""


def finds_a_fault(schedules: SearchStrategy[T], compare: Callable[[T], Awaitable[None]]) -> bool:
    """
    Tell whether *compare* fails for one of some hundred schedules.

    The schedules are the same in every run.

    Raises:
        NoSuchExample: if it fails for none.
    """

    def fails(schedule: T) -> bool:
        backend, options = virtual_backend("asyncio")
        try:
            anyio.run(compare, schedule, backend=backend, backend_options=options)
        except (AssertionError, ExceptionGroup):
            return True
        return False

    once = settings(max_examples=EXAMPLES, phases=[Phase.generate], derandomize=True, database=None)
    find(schedules, fails, settings=once)
    return True
