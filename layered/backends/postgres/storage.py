"""`PostgresStorage`: tasks in a schema of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import ClassVar, Self, TypeVar, overload

from typing_extensions import TypedDict, Unpack

from layered.backend import (
    Answer,
    ArgsLike,
    Claimant,
    Claimed,
    Durability,
    Form,
    KindsLike,
    Limits,
    Pushed,
    Reaped,
    Release,
    Renew,
    Renewal,
    Renews,
    Settle,
    Verdict,
)
from layered.backends.postgres import (
    board,
    lease as leases,
    migrate as migrations,
)
from layered.backends.postgres.claim import claim
from layered.backends.postgres.dedup import insert_one_by_one
from layered.backends.postgres.groups import Groups
from layered.backends.postgres.keeper import Keeper
from layered.backends.postgres.notify import Listener, Notifier, hinting
from layered.backends.postgres.pool import Pool
from layered.backends.postgres.prune import Pruner
from layered.backends.postgres.push import insert
from layered.backends.postgres.queries import checked_schema
from layered.backends.postgres.settle import release, settle
from layered.backends.postgres.transactions import PostgresTransactions
from layered.errors import WrongState
from layered.service.clock import loop_clock
from layered.service.layer import LayerLike
from layered.task import Draft

A = TypeVar("A")


class PostgresOptions(TypedDict, total=False):
    """What `PostgresStorage` takes besides."""

    queue: str
    schema: str
    layers: Sequence[LayerLike]
    limits: Limits | None


class PostgresStorage(PostgresTransactions[A]):
    """
    Tasks in a schema of a PostgreSQL database, for any number of machines.

    Use it as ``async with``: entering creates the schema, or brings it to
    this version. An accepted push or settle is as durable as a commit of
    the server's. One storage belongs to one event loop; it opens up to
    four connections, each when it is first needed, four more for effects
    (`settle_in`), and a worker one more for its lease keeper.

    Args:
        dsn: A connection string or URI of libpq.
        args: The type of the arguments, a union of types, or kinds.
        queue: The queue to push to and to claim from.
        schema: The schema: 1 to 48 of a-z, 0-9 and ``_``.
        layers: The stack around `push`, outermost first.
        limits: Sizes and retention.

    Raises:
        ValueError: if the DSN or the schema cannot be read.
        Fatal: on entering, if the schema is a newer program's, or access is refused.
        BackendBroken: by every operation, if the server cannot be reached.
        Transient: by every operation that takes too long.
    """

    durability: ClassVar[Durability] = "power"
    threaded_keeper: ClassVar[bool] = True
    messaging_system: ClassVar[str] = "postgresql"

    @overload
    def __init__(self, dsn: str, args: Form[A], **options: Unpack[PostgresOptions]) -> None: ...
    @overload
    def __init__(
        self, dsn: str, args: KindsLike[A], **options: Unpack[PostgresOptions]
    ) -> None: ...
    def __init__(
        self,
        dsn: str,
        args: ArgsLike[A],
        *,
        queue: str = "default",
        schema: str = "layered",
        layers: Sequence[LayerLike] = (),
        limits: Limits | None = None,
    ) -> None:
        super().__init__(args, queue, layers, limits or Limits())
        self.schema = checked_schema(schema)
        self._pool = Pool(dsn)
        self._groups = Groups(self._insert, lambda draft: len(draft.payload))
        self._pruner = Pruner(self._pool, self.schema, self.limits)
        self._due_at = 0.0
        self._notifier: Notifier | None = None

    async def __aenter__(self) -> Self:
        """
        Connect; create the schema or bring it to this version, if need be.

        Raises:
            Fatal: if it cannot be used; the message has the way out.
            BackendBroken: if the server cannot be reached.
            WrongState: if it is open already; leaving it would close it for both.
        """
        if self._pool.is_open:
            msg = f"opening {self!r}: it is open already; enter it once, or make another storage"
            raise WrongState(msg)
        await self.migrate()
        async with AsyncExitStack() as stack:
            self._pool.open()
            stack.push_async_callback(self._pool.aclose)
            self._clock, self._due_at = loop_clock(), 0.0
            await self._pool.run(
                "read", partial(board.register, schema=self.schema, queue=self.queue)
            )
            if self._listener is not None:
                self._notifier = Notifier(self._pool, self.schema, self.queue)
                await stack.enter_async_context(hinting(self._listener, self._notifier))
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish what was accepted, and close the connections; not cancellable."""
        await self._open.aclose()

    async def migrate(self, *, dry_run: bool = False) -> Sequence[str]:
        """
        Bring the schema to this program's version, in one transaction.

        Entering does it; a program with more rights may do it before.
        Needs no open storage. Any number of programs may do it at the same
        time.

        Args:
            dry_run: Only tell what would be run.

        Returns:
            The SQL, statements in the order of running; none if it is up to date.

        Raises:
            Fatal: if the schema is a newer program's, or access is refused.
        """
        lane = self._pool.lane("migrate")
        try:
            return await lane.run(
                lambda connection: migrations.migrate(
                    connection, self.schema, self._pool.where, dry_run=dry_run
                )
            )
        finally:
            await lane.aclose()

    @classmethod
    def with_notify(
        cls,
        dsn: str,
        args: ArgsLike[A],
        *,
        listen: str | None = None,
        **options: Unpack[PostgresOptions],
    ) -> PostgresStorage[A]:
        """
        Make a storage whose workers hear of new tasks at once, by LISTEN and NOTIFY.

        It takes one connection more. Hints are only hints: while the
        listener is away, or through a lost one, tasks wait for the next
        poll, each 5 s.

        Args:
            dsn: As for the class.
            args: As for the class.
            listen: The DSN to listen at, where *dsn* leads to a pooler
                such as PgBouncer in transaction mode.
            options: As for the class.

        Raises:
            Fatal: on entering, if the DSN to listen at leads to a pooler.
        """
        storage = cls(dsn, args, **options)
        storage._listener = Listener(
            listen or dsn, storage.schema, storage.queue, storage.pushed.notify
        )
        storage.poll = 5.0
        return storage

    async def _insert(self, drafts: Sequence[Draft]) -> Sequence[Pushed]:
        return await self._pool.run("push", partial(insert, schema=self.schema, drafts=drafts))

    async def insert(self, drafts: Sequence[Draft], /) -> Sequence[Pushed]:
        """See `Backend.insert`; concurrent calls share a commit."""
        if any(draft.dedup for draft in drafts):
            work = partial(insert_one_by_one, schema=self.schema, drafts=drafts)
            answers = await self._pool.run("push", work)
        else:
            answers = await self._groups.write(drafts)
        self._hint()
        return answers

    def _hint(self) -> None:
        """Tell workers, here and elsewhere, that there may be something to claim."""
        self.pushed.notify()
        if self._notifier is not None:
            self._notifier.send()

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """
        See `Backend.claim`; a crash of the server may undo it, as if it had not run.

        A claim finds out by itself what is due; where that is known
        beforehand it is spared a round trip.
        """
        due = self._pool.is_open and self._clock() >= self._due_at
        claimed = await self._pool.run(
            "claim",
            lambda connection: claim(connection, self.schema, claimant, wanted, most, due=due),
            again=False,
        )
        wait = claimed.next_due_in
        self._due_at = float("inf") if wait is None else self._clock() + wait
        if self._listener is not None:
            self._listener.woke(found=bool(claimed.leases))
        return claimed

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        """See `Backend.renew`."""
        work = partial(leases.renew, schema=self.schema, items=items, lease=lease)
        return await self._pool.run("settle", work)

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        """See `Backend.settle`."""
        answers = await self._pool.run("settle", partial(settle, schema=self.schema, items=items))
        self._tell(answers)
        return answers

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        """See `Backend.release`."""
        answers = await self._pool.run("settle", partial(release, schema=self.schema, items=items))
        self._tell(answers)
        return answers

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """See `Backend.reap`; a task comes back after up to 1 s for each worker it has lost."""
        reaped = await self._pool.run("read", partial(leases.reap, schema=self.schema, limit=limit))
        self._tell([Answer(Verdict.APPLIED, one.status) for one in reaped])
        return reaped

    async def prune(self, limit: int, /) -> int:
        """See `Backend.prune`; in small steps, each a transaction of its own."""
        return await self._pruner.prune(limit)

    async def check(self) -> None:
        """See `Backend.check`: whether the server answers and the schema is of this version."""
        await self._pool.run(
            "read", lambda connection: migrations.check(connection, self.schema, self._pool.where)
        )

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[Renews]:
        """See `Backend.keeper`: a connection of its own, for any event loop."""
        lane = self._pool.lane("keeper")
        try:
            yield Keeper(lane, self.schema)
        finally:
            await lane.aclose()

    def __repr__(self) -> str:
        """Show the server, the schema, the task names and the queue; no password."""
        names = ", ".join(self.kinds.by_name)
        return f"PostgresStorage({self._pool.where}, {names}, queue={self.queue!r})"
