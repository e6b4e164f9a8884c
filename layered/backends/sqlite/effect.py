"""`settle_in`: a settle and the user's own change in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager

from layered.backend import Answer, Settle, Verdict
from layered.backends.sqlite.clock import Clock
from layered.backends.sqlite.job import EffectRaised
from layered.backends.sqlite.settle import settle_one
from layered.errors import WrongState


def settle_with(
    connection: sqlite3.Connection,
    clock: Clock,
    effect: Callable[[sqlite3.Connection], object],
    item: Settle,
) -> Answer:
    """Settle first: if the fence does not hold, *effect* is not run."""
    answer = settle_one(connection, clock.wall(), item)
    if answer.verdict is Verdict.APPLIED:
        with _guarded(connection) as ended:
            try:
                _refuse_unrun(effect, effect(connection))
            except BaseException as error:
                raise EffectRaised(_refusal(error) if ended else error) from error
        if ended or not _open(connection):
            raise EffectRaised(_refusal(None))
    return answer


def _refuse_unrun(effect: object, returned: object) -> None:
    """Whoever calls an async function or a generator has run nothing of it yet."""
    if isinstance(returned, (Coroutine, Generator)):
        returned.close()
        msg = (
            f"running the effect of settle_in: {effect!r} must be a plain function, for SQLite "
            f"runs it in a thread; got one that returns a {type(returned).__name__}"
        )
        raise TypeError(msg)


@contextmanager
def _guarded(connection: sqlite3.Connection) -> Iterator[list[str]]:
    """Refuse statements that begin or end transactions; answer the list of those refused."""
    refused: list[str] = []

    def allow(action: int, what: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_TRANSACTION:
            refused.append(str(what))
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    connection.set_authorizer(allow)
    try:
        yield refused
    finally:
        try:
            connection.set_authorizer(None)
        except sqlite3.ProgrammingError:
            refused.append("close")
        else:
            connection.row_factory = None
            connection.text_factory = str
            if connection.isolation_level is not None:
                refused.append("isolation_level")


def _open(connection: sqlite3.Connection) -> bool:
    try:
        return connection.in_transaction
    except sqlite3.ProgrammingError:
        return False


def _refusal(cause: BaseException | None) -> WrongState:
    made = WrongState(
        "running the effect of settle_in: it tried to begin, commit, roll back or close; "
        "the storage commits it together with the settle, so leave that out"
    )
    made.__cause__ = cause
    return made
