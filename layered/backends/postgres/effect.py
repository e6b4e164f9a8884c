"""`settle_in`: the end of a run and the user's own changes in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeAlias

from psycopg import Error
from psycopg.pq import TransactionStatus

from layered.backend import Answer, Settle, Verdict
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.lane import Lane
from layered.backends.postgres.settle import settle
from layered.backends.postgres.within import refused
from layered.backends.postgres.within_async import Ending, within_async
from layered.errors import BackendBroken, Transient, WrongState

Effect: TypeAlias = Callable[[Connection], Awaitable[object]]

_UNKNOWN = (
    "committing the effect of a task: the connection was lost, so it is not known whether it "
    "was committed; the store knows, and runs the task again only if it was not"
)


async def settle_in_theirs(theirs: Ending, schema: str, item: Settle) -> Answer:
    """
    Settle in a transaction of the user's, and commit it.

    Raises:
        WrongState: if there is no transaction.
        BackendBroken: if it is unknown whether it was committed.
    """
    if theirs.autocommit:
        msg = (
            f"settling in a transaction: {theirs.kind} is in none, so what it did is committed "
            "already; begin one before the effect"
        )
        raise WrongState(msg)
    await theirs.flush()
    (answer,) = await settle(theirs, schema, [item])
    if answer.verdict is Verdict.APPLIED:
        try:
            await theirs.commit()
        except Exception as error:
            if refused(error) or theirs.is_open():
                raise
            raise BackendBroken(_UNKNOWN) from error
    elif answer.verdict is Verdict.ALREADY:
        await theirs.rollback()  # its effect was committed with the settle before
    return answer


class Effects:
    """
    Runs effects of the user's on a connection of ours, each in one transaction with a settle.

    Args:
        lane: The connection.
        schema: The schema, quoted.
    """

    __slots__ = ("_lane", "_schema")

    def __init__(self, lane: Lane, schema: str) -> None:
        self._lane = lane
        self._schema = schema


class _Raised(Exception):
    """Carries an error of the user's own code past the translation of ours."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class OurTransaction:
    """
    One transaction of ours: a settle, and an effect of the user's after it.

    Args:
        schema: The schema, quoted.
        effect: What the user does.
        item: The settle.
    """

    __slots__ = ("_effect", "_item", "_schema", "committing")

    def __init__(self, schema: str, effect: Effect, item: Settle) -> None:
        self._schema = schema
        self._effect = effect
        self._item = item
        self.committing = False

    async def run(self, connection: Connection) -> Answer:
        """
        Settle; if the fence holds, run the effect; commit.

        It may be run again after a lost connection: if the commit was done,
        the settle answers so, and the effect is not repeated.
        """
        self.committing = False
        theirs = await within_async(connection)
        assert theirs is not None
        try:
            async with connection.transaction():
                (answer,) = await settle(theirs, self._schema, [self._item])
                if answer.verdict is Verdict.APPLIED:
                    await self._affect(connection)
                self.committing = True
        except Error as error:
            self.committing = self.committing and not refused(error)
            raise
        self.committing = False
        return answer
