"""`Depends`: a value made by a function, for one run or for the worker's life."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from layered.handler import Provided, Scope, Source, Wanted


@attrs.frozen(repr=False)
class Depends:
    """
    Fill a parameter with what a function makes.

    ``Annotated[Db, Depends(get_db)]``. The function's own parameters are
    filled like a handler's: `Data`, other dependencies, the task's id. A
    generator yields the value once; what follows its ``yield`` runs after
    the handler and before any layer sees the result, the last dependency
    first, and sees the handler's exception like a ``with`` block's body.
    Swallowing it there does not make the run a success.

    A sync function runs on the event loop, also before a plain handler: it
    must not block.

    Args:
        function: Sync, async, a generator or an async generator function,
            or a class.
        scope: ``"attempt"`` (default): once per run of a task, however many
            parameters want it. ``"worker"``: once per worker, made when it
            starts; it can use only what is not a task's.
    """

    function: Callable[..., object]
    scope: Scope = attrs.field(default="attempt", kw_only=True)

    def source(self, wanted: Wanted, /) -> Source:
        """Call the function."""
        del wanted
        return Provided(self.function, self.scope, f"{self!r}, per {self.scope}")

    def __repr__(self) -> str:
        """Name the function."""
        return f"Depends({getattr(self.function, '__name__', repr(self.function))})"
