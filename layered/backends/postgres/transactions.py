"""`PostgresTransactions`: pushes and settles inside the user's own transactions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

from typing_extensions import Unpack

from layered.backend import Answer, Pushed, Settle
from layered.backend.options import PushOptions, check_many
from layered.backends.postgres.control import PostgresControl
from layered.backends.postgres.dedup import insert_one_by_one
from layered.backends.postgres.effect import Effect, OurTransaction, settle_in_theirs
from layered.backends.postgres.notify import NOTIFY_IN, Listener, hint_of
from layered.backends.postgres.push import insert, parameters
from layered.backends.postgres.queries import named
from layered.backends.postgres.statement import Style, named_values, numbered
from layered.backends.postgres.within import Within, finish, shown
from layered.backends.postgres.within_async import KNOWN, within_async
from layered.backends.postgres.within_sync import within_sync
from layered.errors import PushRefused
from layered.task import Draft, Run, Task

A = TypeVar("A")


class PostgresTransactions(PostgresControl[A]):
    """
    A storage that takes part in transactions of the user's.

    A push in a transaction is stored when that is committed, and not at
    all when it is rolled back. For pushing the storage need not be open:
    the connection is the user's.
    """

    _listener: Listener | None = None

    async def push_in(self, tx: object, args: A, **options: Unpack[PushOptions]) -> Pushed:
        """
        Store one task in a transaction of yours; it can run once that is committed.

        With `PostgresStorage.with_notify` your transaction sends the hint,
        too: it then holds a lock of the whole server while it is committed,
        so that such transactions are committed one after the other. Without
        it a worker finds the task at its next poll.

        Args:
            tx: Where: an `AsyncConnection` of psycopg 3 (or a cursor of
                it), an `AsyncConnection` or `AsyncSession` of SQLAlchemy on
                psycopg or asyncpg, or an asyncpg connection. It must be of
                the storage's database.
            args: The arguments.
            options: As in `push`. A *dedup* key is locked until the end of
                your transaction: other pushes of that key wait for it.

        Returns:
            Its id, and whether a task of that id was there already.

        Raises:
            PushRefused: as in `push`, and if *tx* is in no transaction and
                would commit at once; nothing was sent.
            TypeError: if *tx* is none of those; nothing was sent.
            Conflict: as in `push`; the transaction can go on.
            Fatal: if that database has no schema of the storage.
            Exception: what the driver raises, as it is.
        """
        within = await _theirs(tx)
        if self.layers:
            draft = self._draft(self.kinds.of(args), options, b"")
            return await self._push.call(Task(args, _RunWithin(draft, within)))
        return (await self._insert_in(within, [self._drafted(args, options)]))[0]

    async def push_many_in(
        self, tx: object, many: Iterable[A], **options: Unpack[PushOptions]
    ) -> Sequence[Pushed]:
        """Store many tasks in a transaction of yours: see `push_in` and `push_many`."""
        check_many(options)
        within = await _theirs(tx)
        if self.layers:
            return [await self.push_in(tx, one, **options) for one in many]
        drafts = [self._drafted(one, options) for one in many]
        return await self._insert_in(within, drafts)

    def push_in_sync(self, tx: object, args: A, **options: Unpack[PushOptions]) -> Pushed:
        """
        Store one task in a transaction of yours, without an event loop.

        Args:
            tx: Where: a `Connection` of psycopg 3 (or a cursor of it), a
                `Connection` or `Session` of SQLAlchemy on psycopg, or
                ``django.db.connection`` on psycopg 3. It must be of the
                storage's database.
            args: The arguments.
            options: As in `push_in`.

        Raises:
            PushRefused: as in `push_in`; and if the storage has layers,
                which need an event loop.
            As `push_in`.
        """
        return self._push_sync(tx, [self._drafted(args, options)])[0]

    def push_many_in_sync(
        self, tx: object, many: Iterable[A], **options: Unpack[PushOptions]
    ) -> Sequence[Pushed]:
        """Store many tasks in a transaction of yours: see `push_in_sync` and `push_many`."""
        check_many(options)
        return self._push_sync(tx, [self._drafted(one, options) for one in many])

    def push_statement(
        self, *many: A, style: Style = "psycopg", **options: Unpack[PushOptions]
    ) -> tuple[str, Any]:
        """
        Make the statement that stores tasks, for a transaction that is run elsewhere.

        It answers a row with the id of each task that it stored. One whose
        id is there already is none of them, and no error.

        Args:
            many: The arguments of each task; 1 or more.
            style: ``"psycopg"`` for ``%(name)s`` and a dict, ``"asyncpg"``
                for ``$1`` and a tuple.
            options: As in `push`, without *dedup*; *id* for one task only.

        Returns:
            The statement and its parameters.

        Raises:
            PushRefused: as in `push_in_sync`; and for *dedup*, which takes
                more than one statement.
        """
        self._refuse_layers()
        if "dedup" in options:
            msg = "push_statement takes no 'dedup', which is not one statement; use push_in_sync"
            raise PushRefused(msg)
        if len(many) != 1:
            check_many(options)
        sql = named("push.sql", self.schema)["insert"]
        values = parameters([self._drafted(one, options) for one in many])
        return numbered(sql, values) if style == "asyncpg" else (sql, named_values(values))

    async def insert_one(self, task: Task[Any], /) -> Pushed:
        """Store a task that has come through the layers; in a transaction, if it has one."""
        if isinstance(task.run, _RunWithin):
            return (await self._insert_in(task.run.within, [self.encoded(task)]))[0]
        return await super().insert_one(task)

    async def settle_in(self, tx: Any, item: Settle, /) -> Answer:  # noqa: ANN401 - see below
        """
        Settle a run together with changes of the user's own in the same database.

        Both commit, or neither. Until then the run's row is locked, which
        holds up no renewal of other leases, and nobody takes the run over.
        If the fence is stale, nothing is written.

        Args:
            tx: An async function that takes a psycopg `AsyncConnection`,
                works with it for 10 s at most, and does not end its
                transaction; it is run after the fence was found to hold,
                and once more if the connection was lost. Or an open
                transaction of your own, which `settle_in` commits: an
                `AsyncConnection` of psycopg 3, an `AsyncSession` or
                `AsyncConnection` of SQLAlchemy, a started transaction of
                asyncpg. It is yours to roll back if this raises, or
                answers `Verdict.STALE`.
            item: The settle.

        Raises:
            TypeError: if *tx* is none of those.
            WrongState: if there is no transaction, or it is not ours to end.
            Exception: what the function or the driver raises, the same
                object; the run is not settled.
            Transient: if it did not succeed; nothing was written.
            BackendBroken: if it is unknown whether it was committed.

        Cancellation:
            Before the commit: nothing is written.
        """
        theirs = await within_async(tx)
        if theirs is not None:
            answer = await settle_in_theirs(theirs, self.schema, item)
        elif not callable(tx):
            msg = f"settling in a transaction: got {shown(tx)}; give an async function, {KNOWN}"
            raise TypeError(msg)
        else:
            answer = await OurTransaction(self.schema, cast("Effect", tx), item).run(self._pool)
        self._tell([answer])
        return answer

    async def _insert_in(self, within: Within, drafts: Sequence[Draft]) -> Sequence[Pushed]:
        if any(draft.dedup for draft in drafts):
            answers = await insert_one_by_one(within, self.schema, drafts)
        else:
            answers = await insert(within, self.schema, drafts)
        if self._listener is not None:
            await within.execute(NOTIFY_IN, hint_of(self.schema, self.queue))
        return answers

    def _push_sync(self, tx: object, drafts: Sequence[Draft]) -> Sequence[Pushed]:
        self._refuse_layers()
        within = within_sync(tx)
        _refuse_autocommit(within)
        return finish(self._insert_in(within, drafts))

    def _refuse_layers(self) -> None:
        if self.layers:
            msg = (
                f"pushing without an event loop: {self!r} has layers, which need one; use "
                "push_in, or a storage without layers"
            )
            raise PushRefused(msg)


class _RunWithin(Run):
    """A push on its way through the layers, and where it is to be stored."""

    __slots__ = ("within",)

    def __init__(self, draft: Draft, within: Within) -> None:
        super().__init__(draft)
        self.within = within


async def _theirs(tx: object) -> Within:
    within = await within_async(tx)
    if within is None:
        msg = (
            f"pushing in a transaction: got {shown(tx)}; give {KNOWN}; a program without an event "
            "loop calls push_in_sync()"
        )
        raise TypeError(msg)
    _refuse_autocommit(within)
    return within


def _refuse_autocommit(within: Within) -> None:
    if within.autocommit:
        msg = (
            f"pushing in a transaction: {within.kind} is in none, so the push would be committed "
            "at once; begin one, or use storage.push()"
        )
        raise PushRefused(msg)
