"""
Generator dependencies: set up before the handler, torn down after it.

The compiled call opens them with nested ``with`` and ``async with``, so
they end in the reverse order, in the task that set them up. What happens
at the end:

======================  ==========================  ================================
handler                 teardown                    the layers see
======================  ==========================  ================================
success                 ends                        the result
success                 raises E                    E
failed with F           ends, also swallowing F     F
failed with F           raises E                    F, with E as a note
cancelled from outside  ends, also swallowing it    the cancellation
cancelled from outside  raises E                    the cancellation, with E as a note
cancelled by the        raises E                    E
dependency's own scope  swallows it                 `StrayCancellation`
any                     takes longer than its       as "raises E", E being
                        limit                       `TeardownElapsed`
======================  ==========================  ================================

An async teardown is shielded from cancellation. The scope that shields it
is opened around the whole dependency and only set to shield at the end:
a task group or a cancel scope that the dependency holds open across its
``yield`` would otherwise be left inside a newer scope, which neither event
loop allows.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

import anyio
from anyio import get_cancelled_exc_class as cancelled

from layered.errors import LayeredError, StrayCancellation

T = TypeVar("T")


class TeardownElapsed(LayeredError, TimeoutError):
    """
    A dependency's teardown was cancelled because it took too long.

    Args:
        dependency: The name of its function.
        seconds: The limit.
    """

    def __init__(self, dependency: str, seconds: float) -> None:
        super().__init__(dependency, seconds)
        self.dependency = dependency
        self.seconds = seconds

    def __str__(self) -> str:
        """Name the dependency, the limit and the way out."""
        return (
            f"tearing down dependency {self.dependency!r} took longer than {self.seconds:g} s and "
            "was cancelled; make it shorter or raise the worker's teardown_timeout"
        )


class Held(Generic[T]):
    """
    An async generator dependency around one call.

    Args:
        generator: The generator function's context manager.
        dependency: The function's name.
        limit: Most seconds that the teardown may take.
    """

    __slots__ = ("_dependency", "_generator", "_limit", "_scope")

    def __init__(
        self, generator: AbstractAsyncContextManager[T], dependency: str, limit: float
    ) -> None:
        self._generator = generator
        self._dependency = dependency
        self._limit = limit
        self._scope = anyio.CancelScope()

    async def __aenter__(self) -> T:
        """Run up to the ``yield``."""
        self._scope.__enter__()
        try:
            return await self._generator.__aenter__()
        except BaseException as error:
            self._scope.__exit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Run what stands after the ``yield``, shielded."""
        scope, trouble, swallowed = self._scope, None, None
        scope.deadline = anyio.current_time() + self._limit
        scope.shield = True
        try:
            swallowed = await self._generator.__aexit__(kind, error, traceback)
        except BaseException as raised:  # noqa: BLE001 - `_end` raises it
            trouble = raised
        late = scope.cancel_called
        scope.__exit__(None if trouble is None else type(trouble), trouble, None)
        if late and (trouble is None or isinstance(trouble, (Exception, cancelled()))):
            trouble = TeardownElapsed(self._dependency, self._limit)
        _end(self._dependency, error, trouble, swallowed=bool(swallowed))


class HeldSync(Generic[T]):
    """
    A generator dependency around one call.

    Its teardown runs without interruption, so it needs neither shield nor limit.

    Args:
        generator: The generator function's context manager.
        dependency: The function's name.
    """

    __slots__ = ("_dependency", "_generator")

    def __init__(self, generator: AbstractContextManager[T], dependency: str) -> None:
        self._generator = generator
        self._dependency = dependency

    def __enter__(self) -> T:
        """Run up to the ``yield``."""
        return self._generator.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Run what stands after the ``yield``."""
        trouble, swallowed = None, None
        try:
            swallowed = self._generator.__exit__(kind, error, traceback)
        except BaseException as raised:  # noqa: BLE001 - `_end` raises it
            trouble = raised
        _end(self._dependency, error, trouble, swallowed=bool(swallowed))


def _end(
    dependency: str,
    error: BaseException | None,
    trouble: BaseException | None,
    *,
    swallowed: bool,
) -> None:
    """
    Raise what the table at the head of this file says; return to let *error* go on.

    *trouble* is never *error*: the context managers of `contextlib` do not
    raise again what they were given.
    """
    if error is None or not (trouble is None or isinstance(trouble, Exception)):
        if trouble is not None:
            raise trouble
    elif _stands(error):
        if trouble is not None:
            error.add_note(f"tearing down dependency {dependency!r} also failed: {trouble!r}")
    elif trouble is not None:
        raise trouble from error
    elif swallowed:
        msg = f"dependency {dependency!r} cancelled the handler, or hid that it was cancelled"
        raise StrayCancellation(msg) from error


def _stands(error: BaseException) -> bool:
    """Tell whether *error* is the failure whatever a dependency makes of it."""
    if not isinstance(error, cancelled()):
        return True
    # Otherwise a scope inside the dependency ended it: outside that scope it
    # must not go on, or it reaches a place that nobody cancelled.
    return anyio.current_effective_deadline() == float("-inf")
