"""Worker-scoped dependencies: set up when a worker starts, torn down when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import attrs

from layered.errors import WrongState
from layered.handler.signature import Shape
from layered.handler.teardown import Held, HeldSync


@attrs.frozen
class Fixed:
    """An argument known when the worker is built."""

    value: object


@attrs.frozen
class Shared:
    """
    One worker-scoped dependency.

    Args:
        variable: The global name of its value in compiled calls.
        dependency: The function's name.
        function: The function.
        shape: What a call of it answers.
        arguments: With their keywords, `None` for positional ones; another
            dependency stands for its value.
    """

    variable: str
    dependency: str
    function: Callable[..., Any]
    shape: Shape
    arguments: Sequence[tuple[str | None, Fixed | Shared]]


class Lifetime:
    """
    The worker-scoped dependencies of all handlers of one worker.

    Args:
        limit: Most seconds that each teardown may take.
    """

    __slots__ = ("_limit", "_values", "is_open", "namespaces", "shared")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._values: dict[str, object] = {}
        self.is_open = False
        self.shared: dict[object, Shared] = {}
        self.namespaces: list[dict[str, object]] = []

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """
        Set the dependencies up, in order; tear them down at the end, the last one first.

        Raises:
            WrongState: if they are set up already.
        """
        if self.is_open:
            msg = "this handler is open already; a worker runs once at a time"
            raise WrongState(msg)
        async with AsyncExitStack() as stack:
            for each in self.shared.values():
                self._values[each.variable] = await self._set_up(each, stack)
            for namespace in self.namespaces:
                namespace.update(self._values)
            self.is_open = True
            try:
                yield
            finally:
                self.is_open = False
                for namespace in self.namespaces:
                    namespace.update(dict.fromkeys(self._values))
                self._values.clear()

    def closed(self) -> WrongState:
        """Make the error of a call before or after."""
        names = ", ".join(repr(each.dependency) for each in self.shared.values())
        return WrongState(
            f"a handler was called while its worker-scoped dependencies ({names}) are not set up; "
            "call it inside 'async with handler.opened()'"
        )

    async def _set_up(self, each: Shared, stack: AsyncExitStack) -> object:
        positional = [self._value(argument) for key, argument in each.arguments if key is None]
        keywords = {key: self._value(argument) for key, argument in each.arguments if key}
        if each.shape is Shape.ASYNC_GENERATOR:
            held = asynccontextmanager(each.function)(*positional, **keywords)
            return await stack.enter_async_context(Held(held, each.dependency, self._limit))
        if each.shape is Shape.GENERATOR:
            kept = contextmanager(each.function)(*positional, **keywords)
            return stack.enter_context(HeldSync(kept, each.dependency))
        made = each.function(*positional, **keywords)
        return await made if each.shape is Shape.ASYNC else made

    def _value(self, argument: Fixed | Shared) -> object:
        return argument.value if isinstance(argument, Fixed) else self._values[argument.variable]
