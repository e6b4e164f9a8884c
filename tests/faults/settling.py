"""
The worker process that settles its own tasks: ``python -m tests.faults.settling SETTING``.

Each task leaves an effect in the schema of the store, in the transaction that ends it: by turns
on layered's connection, with SQLAlchemy on asyncpg, and on a connection of psycopg's own. Those
two know asyncio only, so on trio it is always the first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

import anyio
import psycopg
from psycopg.conninfo import conninfo_to_dict
from tenacity import stop_never, wait_none

from layered import Attempt, Data, PostgresStorage, RetryLayer, WorkerBuilder, WorkerContext
from layered.backend import Answer, Settle
from layered.backends.postgres.connection import Connection
from tests.faults.deeds import die
from tests.faults.program import prepare, tell
from tests.faults.setting import Ledger, Setting, Unit

Way = Callable[[Setting, Unit, WorkerContext, Callable[[], None]], Awaitable[None]]


class SettledApart(PostgresStorage[Unit]):
    """Settles in a transaction of its own, after the one of the effect."""

    async def settle_in(self, tx: Any, item: Settle, /) -> Answer:
        if callable(tx):
            await self._pool.effect(tx)
        else:
            await tx.commit()
        return (await self.settle([item]))[0]


async def with_effect(
    setting: Setting, unit: Unit, ctx: WorkerContext, inside: Callable[[], None]
) -> None:
    """Have layered run an effect."""

    async def effect(connection: Connection) -> None:
        await connection.execute(statement(setting, unit).encode())
        inside()

    await ctx.settle_in(effect)


@cache
def sessions(dsn: str) -> Callable[[], Any]:
    """Make the pool of this process, when it is first wanted: workers start often here."""
    from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

    given = conninfo_to_dict(dsn)
    where = {"host": given["host"], "port": given["port"], "user": given["user"]}
    made = {**where, "database": given["dbname"], "ssl": False}  # a proxy looks into it
    return async_sessionmaker(create_async_engine("postgresql+asyncpg://", connect_args=made))


async def with_sqlalchemy(
    setting: Setting, unit: Unit, ctx: WorkerContext, inside: Callable[[], None]
) -> None:
    """Use a session."""
    from sqlalchemy import text

    async with sessions(setting.dsn)() as session:
        await session.execute(text(statement(setting, unit)))
        inside()
        await ctx.settle_in(session)


async def with_psycopg(
    setting: Setting, unit: Unit, ctx: WorkerContext, inside: Callable[[], None]
) -> None:
    """Use a connection of psycopg's."""
    async with await psycopg.AsyncConnection.connect(setting.dsn) as connection:
        await connection.execute(statement(setting, unit).encode())
        inside()
        await ctx.settle_in(connection)


WAYS: tuple[Way, ...] = (with_effect, with_sqlalchemy, with_psycopg)


def statement(setting: Setting, unit: Unit) -> str:
    """Write the effect."""
    return f"INSERT INTO {setting.schema}.effect VALUES ({unit.number})"  # noqa: S608 - ours


async def handle(
    unit: Unit,
    ctx: WorkerContext,
    attempt: Attempt,
    ledger: Data[Ledger],
    setting: Data[Setting],
) -> None:
    """Settle, and die inside of it or after it, if the task says so."""

    def inside() -> None:
        if unit.deed == "settle_in, die inside" and attempt == 1:
            die()

    ledger.add(unit.number, attempt)
    await anyio.sleep(unit.seconds)
    way = WAYS[unit.number % len(WAYS)] if setting.loop == "asyncio" else with_effect
    await way(setting, unit, ctx, inside)
    if unit.deed == "settle_in, die after" and attempt == 1:
        die()


def main() -> None:
    """Work until told to stop by a signal."""
    setting = prepare()
    make = SettledApart if setting.storage else PostgresStorage[Unit]
    (
        WorkerBuilder("fault")
        .backend(make(setting.dsn, Unit, schema=setting.schema))
        .data(Ledger(setting.folder))
        .data(setting)
        .on_event(partial(tell, setting.tell))
        .configure(**setting.numbers)
        .layer(RetryLayer(stop_never, wait=wait_none()))
        .build(handle)
        .run_sync(backend=setting.loop)
    )


if __name__ == "__main__":
    main()
