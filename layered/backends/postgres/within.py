"""A transaction of the user's, as our statements see it; any driver's."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, ClassVar, LiteralString, Protocol, TypeVar

from layered.errors import Fatal

T = TypeVar("T")

_MISSING = frozenset({"3F000", "42P01", "42703", "42883"})
"""SQLSTATE: no such schema, table, column, function."""
_UNKNOWN = frozenset({"08", "57"})
"""Classes of SQLSTATE that tell of a lost connection or of a server that stops."""


class Rows(Protocol):
    """What a statement answers."""

    async def fetchall(self) -> Sequence[Any]:
        """Answer the rows."""
        ...


class Executes(Protocol):
    """What runs our statements: a connection of ours, or a transaction of the user's."""

    async def execute(
        self,
        query: LiteralString,
        params: Mapping[str, object] | None = None,
        *,
        binary: bool = False,
    ) -> Rows:
        """Run one statement."""
        ...

    def together(self) -> AbstractAsyncContextManager[None]:
        """Make the statements of the block all or nothing."""
        ...


class Within(ABC):
    """
    Runs our statements in a transaction of the user's, which stays theirs to end.

    Class attributes:
        kind: What it is, for messages.

    Attributes:
        autocommit: Whether a statement would be committed at once, for no
            transaction was begun.
    """

    kind: ClassVar[str]
    autocommit: bool = False

    @abstractmethod
    async def send(self, query: str, values: Mapping[str, object]) -> Sequence[Any]:
        """Run a statement with placeholders of psycopg; answer its rows."""

    async def execute(
        self, query: str, params: Mapping[str, object] | None = None, *, binary: bool = False
    ) -> Rows:
        """
        Run a statement.

        Raises:
            Fatal: if the database has no tables of ours.
            Exception: what the driver raises, as it is.
        """
        try:
            return _Found(await self.send(query, params or {}))
        except Exception as error:
            if sqlstate(error) not in _MISSING:
                raise
            msg = (
                f"using {self.kind} of the caller's: this database has no schema of layered, or "
                "not of this version; connect to the storage's, or run storage.migrate()"
            )
            raise Fatal(msg) from error

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Undo the statements of the block if it raises, and nothing else of the transaction."""
        await self.execute("SAVEPOINT layered")
        try:
            yield
        except Exception:
            with suppress(Exception):
                await self.execute("ROLLBACK TO SAVEPOINT layered")
            raise
        await self.execute("RELEASE SAVEPOINT layered")


class _Found:
    __slots__ = ("_rows",)

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    async def fetchall(self) -> Sequence[Any]:
        return self._rows


def sqlstate(error: BaseException | None) -> str | None:
    """Answer the server's code for an error, of whichever driver; `None` if it told none."""
    while error is not None:
        if state := getattr(error, "sqlstate", None):
            return str(state)
        error = getattr(error, "orig", None) or error.__cause__
    return None


def refused(error: BaseException) -> bool:
    """Tell whether an error is the server's answer: what it answers is not done."""
    state = sqlstate(error)
    return state is not None and state[:2] not in _UNKNOWN


def is_of(tx: object, module: str, *names: str) -> bool:
    """Tell whether *tx* is of a class of a module; who has one has imported that."""
    found = sys.modules.get(module)
    return found is not None and isinstance(tx, tuple(getattr(found, name) for name in names))


def shown(tx: object) -> str:
    """Name the class of what was given for a transaction."""
    return f"{type(tx).__module__}.{type(tx).__qualname__}"


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run what never waits, without an event loop."""
    try:
        work.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    work.close()
    msg = "it waited, and there is no event loop"
    raise RuntimeError(msg)
