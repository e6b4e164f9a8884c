"""`Data[State]`: what the worker was given with `WorkerBuilder.data`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias, TypeVar, get_origin

import attrs

from layered.handler import Constant, Source, Unfillable, Wanted

T = TypeVar("T")


@attrs.frozen
class DataMarker:
    """
    The extractor behind `Data`.

    It looks for a value given under exactly the wanted type, then for the
    only one that is an instance of it: a subclass, or a match for a
    ``runtime_checkable`` Protocol.
    """

    def source(self, wanted: Wanted, /) -> Source:
        """
        Answer the worker's own value; it is the same object for every task.

        Raises:
            Unfillable: if nothing provided fits, or several things do.
        """
        base = get_origin(wanted.form) or wanted.form
        if base in wanted.data:
            return Constant(wanted.data[base], "WorkerBuilder.data")
        fitting = [each for each in wanted.data if _fits(wanted.data[each], base)]
        if len(fitting) == 1:
            return Constant(wanted.data[fitting[0]], "WorkerBuilder.data")
        name = getattr(base, "__name__", str(base))
        if fitting:
            found = f"{_listed(fitting)} all fit {base!r}"
            way_out = "ask for one of them, or let Depends choose"
            raise Unfillable(found, way_out)
        found = f"no data of {base!r} is provided (provided: {_listed(wanted.data)})"
        raise Unfillable(found, f"provide it with WorkerBuilder.data({name}(...))")


Data: TypeAlias = Annotated[T, DataMarker()]
"""``Data[State]`` is `State` to type checkers, and the worker's own `State` to a handler."""


def _fits(value: object, base: type) -> bool:
    try:
        return isinstance(value, base)
    except TypeError:  # a Protocol that is not for the run time, or no type at all
        return False


def _listed(found: Iterable[type]) -> str:
    return ", ".join(each.__name__ for each in found) or "nothing"
