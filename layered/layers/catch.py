"""`CatchLayer`: turns errors into another, by default into one that ends the task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from layered.errors import Abort, BuildError, Outcome
from layered.service import Middleware, Service
from layered.service.layer import name_of

Req = TypeVar("Req")
Res = TypeVar("Res")


class Catch(Middleware[Req, Res]):
    """Turns errors of the inner service into another; made by `CatchLayer`."""

    __slots__ = ("errors", "into")

    def __init__(
        self,
        errors: tuple[type[Exception], ...],
        into: Callable[[str], Exception],
        inner: Service[Req, Res],
        /,
    ) -> None:
        super().__init__(inner)
        self.errors = errors
        self.into = into

    async def call(self, request: Req, /) -> Res:
        """
        Call the inner service.

        Raises:
            Exception: made by *into*, from the error caught; others as they are.

        Cancellation:
            Passes through.
        """
        try:
            return await self.inner.call(request)
        except self.errors as error:
            if isinstance(error, Outcome) and not self._listed(error):
                raise
            text = f"{type(error).__qualname__}: {error}"
            raise self.into(text) from error

    def _listed(self, outcome: Outcome) -> bool:
        return any(issubclass(one, Outcome) and isinstance(outcome, one) for one in self.errors)

    def __repr__(self) -> str:
        """Show what is caught, what it becomes, and the inner service."""
        return f"Catch({_shown(self.errors, self.into)}, {self.inner!r})"


class CatchLayer:
    """
    Turn errors into another; by default any `Exception` into `Abort`, which is terminal.

    Outside a `RetryLayer` it ends a task that has used up its runs; inside
    one it says which errors are not worth another run::

        CatchLayer(InvalidAddress, PermissionError)

    An `Outcome` (`Abort`, `RetryAfter`, `Snooze`) says already how the
    task goes on: it passes, unless listed as such. Cancellation is never
    caught.

    Args:
        errors: Classes of errors; default `Exception`.
        into: Makes the new error of a text, ``"KeyError: 'name'"``. It is
            raised from the caught one.

    Raises:
        BuildError: if one of *errors* is no subclass of `Exception`, or
            *into* cannot be called.

    Source: apalis ``CatchPanicLayer``, which turns a panic into ``AbortError``.
    """

    __slots__ = ("errors", "into")

    def __init__(self, *errors: type[Exception], into: Callable[[str], Exception] = Abort) -> None:
        if problems := _problems(errors, into):
            raise BuildError("CatchLayer", problems)
        self.errors: tuple[type[Exception], ...] = errors or (Exception,)
        self.into = into

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        """Put a `Catch` around *inner*."""
        return Catch(self.errors, self.into, inner)

    def __repr__(self) -> str:
        """Show the constructor."""
        return f"CatchLayer({_shown(self.errors, self.into)})"


def _problems(errors: tuple[object, ...], into: object) -> list[str]:
    problems = [
        f"{one!r} cannot be caught; list subclasses of Exception, as cancellation must pass"
        for one in errors
        if not (isinstance(one, type) and issubclass(one, Exception))
    ]
    if not callable(into):
        problems.append(f"'into' must make an error of a text, got {into!r}; try into=Abort")
    return problems


def _shown(errors: tuple[type[Exception], ...], into: Callable[[str], Exception]) -> str:
    return f"{', '.join(map(name_of, errors))}, into={name_of(into)}"
