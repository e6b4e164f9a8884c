"""`settle_in`: the end of a run and the user's own changes in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeAlias

from psycopg import Error
from psycopg.pq import TransactionStatus

from layered.backend import Answer, Settle, Verdict
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.pool import Pool
from layered.backends.postgres.settle import settle
from layered.backends.postgres.within import refused
from layered.backends.postgres.within_async import Ending, PsycopgAsync
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
    await theirs.prepare()
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


class _Raised(Exception):
    """Carries an error of the user's own code past the translation of ours."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class OurTransaction:
    """
    A transaction of ours: a settle, and after it an effect of the user's.

    Args:
        schema: The schema, quoted.
        effect: What the user does.
        item: The settle.
    """

    __slots__ = ("_committing", "_effect", "_item", "_schema")

    def __init__(self, schema: str, effect: Effect, item: Settle) -> None:
        self._schema = schema
        self._effect = effect
        self._item = item
        self._committing = False

    async def run(self, pool: Pool) -> Answer:
        """
        Settle and run the effect, or neither.

        Raises:
            Exception: what the effect raises, the same object; nothing was written.
            WrongState: if the effect ended the transaction, or went on after it had failed.
            Transient: if it did not succeed; nothing was written.
            BackendBroken: if it is unknown whether it was committed.
        """
        try:
            return await pool.effect(self._once)
        except _Raised as raised:
            raise raised.error from raised.error.__cause__
        except Transient as error:
            if self._committing:
                raise BackendBroken(_UNKNOWN) from error
            raise Transient(str(error)) from error

    async def _once(self, connection: Connection) -> Answer:
        # After a lost connection it is run again. If the commit was done all the same, the
        # settle says so, and the effect is not repeated.
        self._committing = False
        own = PsycopgAsync(connection)
        try:
            async with connection.transaction():
                (answer,) = await settle(own, self._schema, [self._item])
                if answer.verdict is Verdict.APPLIED:
                    await self._affect(connection)
                self._committing = True
        except Error as error:
            self._committing = self._committing and not refused(error)
            raise
        return answer

    async def _affect(self, connection: Connection) -> None:
        try:
            awaitable: Any = self._effect(connection)
            if not isawaitable(awaitable):
                msg = f"running the effect of settle_in: {self._effect!r} must be an async function"
                raise TypeError(msg)  # noqa: TRY301 - it is the user's, as what follows
            await awaitable
            if connection.pgconn.transaction_status != TransactionStatus.INTRANS:
                msg = (
                    "running the effect of settle_in: it ended the transaction, or swallowed an "
                    "error of it; the storage commits it together with the settle"
                )
                raise WrongState(msg)  # noqa: TRY301 - the same
        except Exception as error:
            raise _Raised(error) from error
