"""
What a handler answers, made into one of two things: a value, or an exception.

Done once, around every handler, so that no layer has to know of it.
"""

from __future__ import annotations

import inspect
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from layered.errors import Outcome

PLAIN = frozenset(
    {
        bool,
        bytearray,
        bytes,
        complex,
        date,
        datetime,
        Decimal,
        dict,
        float,
        frozenset,
        int,
        list,
        set,
        str,
        time,
        timedelta,
        tuple,
        type(None),
        UUID,
    }
)
"""Types whose values are results and nothing else: no need to look closer."""


class IntoOutcome(Protocol):
    """A result that says itself how its task goes on."""

    def into_outcome(self) -> object:
        """Answer an `Outcome`, or the value that is the result."""
        ...


def normalised(result: object, name: str) -> object:
    """
    Answer the result of the handler *name* as layers see it.

    A value with `into_outcome` is converted first.

    Raises:
        Outcome: if the result is one.
        TypeError: if it is something that still has to be run.
    """
    convert: Any = getattr(result, "into_outcome", None)
    if convert is not None and not isinstance(result, type):
        result = convert()
    if isinstance(result, Outcome):
        raise result
    if isinstance(result, type) and issubclass(result, Outcome):
        raise result  # as `raise Abort` would
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()  # or Python warns that nobody awaited it
        msg = (
            f"handler {name!r} returned {type(result).__name__!r}, which nobody has awaited; "
            "make the handler an 'async def' and await it there"
        )
        raise TypeError(msg)
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        msg = (
            f"handler {name!r} returned {type(result).__name__!r}, which nobody has run; "
            "go through it in the handler and return the result"
        )
        raise TypeError(msg)
    return result
