"""`PostgresStorage`: tasks in a schema of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar, Self, TypeVar, overload

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict
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
    Record,
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
    prune as pruning,
    read,
)
from layered.backends.postgres.claim import claim
from layered.backends.postgres.control import PostgresControl
from layered.backends.postgres.dedup import insert_one_by_one
from layered.backends.postgres.faults import shown
from layered.backends.postgres.groups import Groups
from layered.backends.postgres.keeper import Keeper
from layered.backends.postgres.lane import Lane
from layered.backends.postgres.push import insert
from layered.backends.postgres.queries import checked_schema
from layered.backends.postgres.settle import release, settle
from layered.errors import WrongState
from layered.service.clock import loop_clock
from layered.service.layer import LayerLike
from layered.task import Draft, Status

A = TypeVar("A")


class PostgresOptions(TypedDict, total=False):
    """What `PostgresStorage` takes besides."""

    queue: str
    schema: str
    layers: Sequence[LayerLike]
    limits: Limits | None


class PostgresStorage(PostgresControl[A]):
    """
    Tasks in a schema of a PostgreSQL database, for any number of machines.

    Use it as ``async with``: entering creates the schema, or brings it to
    this version. An accepted push or settle is as durable as a commit of
    the server's. One storage belongs to one event loop; it opens up to
    four connections, each when it is first needed, and a worker one more
    for its lease keeper.

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
        try:
            conninfo_to_dict(dsn)
        except Error as error:
            msg = f"the DSN cannot be read: {error}"
            raise ValueError(msg) from None
        self.schema = checked_schema(schema)
        self._dsn = dsn
        self._where = shown(dsn)
        self._lanes: Mapping[str, Lane] = {}
        self._groups: Groups[Draft, Pushed]
        self._pruned = pruning.START
        self._due_at = 0.0

    async def __aenter__(self) -> Self:
        """
        Connect; create the schema or bring it to this version, if need be.

        Raises:
            Fatal: if it cannot be used; the message has the way out.
            BackendBroken: if the server cannot be reached.
            WrongState: if it is open already; leaving it would close it for both.
        """
        if self._lanes:
            msg = f"opening {self!r}: it is open already; enter it once, or make another storage"
            raise WrongState(msg)
        self._lanes = {name: self._lane_for(name) for name in ("push", "claim", "settle", "read")}
        self._groups = Groups(self._insert)
        self._clock = loop_clock()
        self._due_at = 0.0
        try:
            await self.migrate()
            await self._run("read", partial(board.register, schema=self.schema, queue=self.queue))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish what was accepted, and close the connections; not cancellable."""
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            await lane.aclose()

    async def migrate(self) -> Sequence[str]:
        """
        Bring the schema to this program's version, in one transaction; entering does it.

        Any number of programs may do so at the same time.

        Returns:
            The statements that were run; none if it was up to date.

        Raises:
            Fatal: if the schema is a newer program's, or access is refused.
        """
        return await self._run(
            "read", lambda connection: migrations.migrate(connection, self.schema, self._where)
        )

    def _lane_for(self, name: str) -> Lane:
        return Lane(self._dsn, self._where, name)

    async def _insert(self, drafts: Sequence[Draft]) -> Sequence[Pushed]:
        return await self._run("push", partial(insert, schema=self.schema, drafts=drafts))

    async def insert(self, drafts: Sequence[Draft], /) -> Sequence[Pushed]:
        """See `Backend.insert`; concurrent calls share a commit."""
        if not self._lanes:
            return await self._insert(drafts)  # tells that it is closed
        if any(draft.dedup for draft in drafts):
            work = partial(insert_one_by_one, schema=self.schema, drafts=drafts)
            answers = await self._run("push", work)
        else:
            answers = await self._groups.write(drafts)
        self._hint()
        return answers

    def _hint(self) -> None:
        self._due_at = 0.0
        super()._hint()

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        """See `Backend.claim`; a crash of the server may undo it, as if it had not run."""
        due = self._clock() >= self._due_at if self._lanes else False
        claimed = await self._run(
            "claim",
            lambda connection: claim(connection, self.schema, claimant, wanted, most, due=due),
            again=False,
        )
        wait = claimed.next_due_in
        self._due_at = float("inf") if wait is None else self._clock() + wait
        return claimed

    async def renew(self, items: Sequence[Renew], lease: float, /) -> Sequence[Renewal]:
        """See `Backend.renew`."""
        work = partial(leases.renew, schema=self.schema, items=items, lease=lease)
        return await self._run("settle", work)

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        """See `Backend.settle`."""
        answers = await self._run("settle", partial(settle, schema=self.schema, items=items))
        self._tell(answers)
        return answers

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        """See `Backend.release`."""
        answers = await self._run("settle", partial(release, schema=self.schema, items=items))
        self._tell(answers)
        return answers

    async def reap(self, limit: int, /) -> Sequence[Reaped]:
        """See `Backend.reap`; a task comes back after up to 1 s for each worker it has lost."""
        reaped = await self._run("read", partial(leases.reap, schema=self.schema, limit=limit))
        self._tell([Answer(Verdict.APPLIED, one.status) for one in reaped])
        return reaped

    def _tell(self, answers: Sequence[Answer]) -> None:
        """Give the hints that follow from what was written."""
        statuses = {answer.status for answer in answers}
        if any(status is not None and status.is_terminal for status in statuses):
            self.ended.notify()
        if statuses & {Status.READY, Status.RETRY}:
            self._hint()

    async def fetch(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        """See `Backend.fetch`."""
        return await self._run("read", partial(read.fetch, schema=self.schema, ids=ids))

    async def counts(self, queue: str, /) -> Mapping[str, Mapping[Status, int]]:
        """See `Backend.counts`; looks at every row, tombstones included."""
        return await self._run("read", partial(read.counts, schema=self.schema, queue=queue))

    async def names(self, queue: str, /) -> Sequence[str]:
        """See `Backend.names`; one look into the index for each name."""
        return await self._run("read", partial(read.names, schema=self.schema, queue=queue))

    async def prune(self, limit: int, /) -> int:
        """See `Backend.prune`; in small steps, each a transaction of its own."""
        changed = await self._run("read", partial(pruning.sweep, schema=self.schema, limit=limit))
        while changed < limit:
            work = partial(
                pruning.step,
                schema=self.schema,
                limits=self.limits,
                after=self._pruned,
                limit=limit - changed,
            )
            done = await self._run("read", work)
            self._pruned = done.cursor
            changed += done.changed
            if done.last:
                self._pruned = pruning.START
                break
        return changed

    async def check(self) -> None:
        """See `Backend.check`: whether the server answers and the schema is of this version."""
        await self._run(
            "read", lambda connection: migrations.check(connection, self.schema, self._where)
        )

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[Renews]:
        """See `Backend.keeper`: a connection of its own, for any event loop."""
        lane = self._lane_for("keeper")
        try:
            yield Keeper(lane, self.schema)
        finally:
            await lane.aclose()

    def __repr__(self) -> str:
        """Show the server, the schema, the task names and the queue; no password."""
        names = ", ".join(self.kinds.by_name)
        return f"PostgresStorage({self._where}, {names}, queue={self.queue!r})"
