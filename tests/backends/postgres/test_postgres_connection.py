"""A connection: what it waits for, what stops it, and what it is good for after that."""

from collections.abc import Awaitable, Callable, Iterator

import anyio
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from layered.backends.postgres import connection as connections
from layered.backends.postgres.arrays import Blobs
from layered.backends.postgres.connection import Connection
from tests.backends.postgres.sessions import Sessions
from tests.servers.proxy import Proxy, proxied

NAME = "under test"


@pytest.fixture
def sessions(postgres: str) -> Iterator[Sessions]:
    """Give what the server knows of the connection."""
    sessions = Sessions(postgres, NAME)
    yield sessions
    sessions.close()


@pytest.fixture
def proxy(postgres: str) -> Iterator[Proxy]:
    """Give a proxy in front of the server."""
    with proxied(postgres) as proxy:
        yield proxy


async def pid(connection: Connection) -> int:
    """Ask for the process of the session."""
    ((number,),) = await (await connection.execute("SELECT pg_backend_pid()")).fetchall()
    return int(number)


async def cancelled(sessions: Sessions, work: Callable[[], Awaitable[object]], state: str) -> None:
    """Begin *work*, and cancel it when its session is in *state*."""
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await work()
            raise AssertionError

        tasks.start_soon(run)
        await sessions.until(state)
        tasks.cancel_scope.cancel()


async def test_connection_is_usable_after_a_statement_was_cancelled(
    connection: Connection, sessions: Sessions
) -> None:
    """The server has stopped it, and the session is the same."""
    before = await pid(connection)

    await cancelled(sessions, lambda: connection.execute("SELECT pg_sleep(60)"), "active")

    assert not connection.busy
    assert sessions.states() == {before: "idle"}
    assert await pid(connection) == before


async def test_connection_rolls_back_when_a_transaction_is_cancelled(
    connection: Connection, sessions: Sessions
) -> None:
    """Amid a statement of it, as between two."""

    async def transact() -> None:
        async with connection.together():
            await connection.execute("SELECT pg_sleep(60)")

    await cancelled(sessions, transact, "active")

    assert not connection.busy
    assert [*sessions.states().values()] == ["idle"]


async def test_connection_rolls_back_when_a_block_fails(connection: Connection) -> None:
    """An error of the block's own is raised as it is."""

    async def transact() -> None:
        async with connection.together():
            await connection.execute("CREATE TEMP TABLE kept (n int)")
            raise KeyError

    with pytest.raises(KeyError):
        await transact()

    assert not connection.busy
    with pytest.raises(errors.UndefinedTable):
        await connection.execute("SELECT * FROM kept")


async def test_connection_is_usable_after_an_error_of_the_server(connection: Connection) -> None:
    """In a transaction or without one."""
    for _ in range(2):
        with pytest.raises(errors.DivisionByZero):
            await connection.execute("SELECT 1 / 0")
        with pytest.raises(errors.DivisionByZero):
            async with connection.together():
                await connection.execute("SELECT 1 / 0")

    assert await pid(connection)


async def test_connection_is_closed_when_its_session_ends_amid_a_statement(
    connection: Connection, sessions: Sessions
) -> None:
    """The error is that of the server, which says why."""
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            with pytest.raises(errors.OperationalError):
                await connection.execute("SELECT pg_sleep(60)")

        tasks.start_soon(run)
        await sessions.until("active")
        sessions.terminate()

    assert connection.closed


async def test_connection_is_closed_when_the_server_does_not_stop(
    proxy: Proxy, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has left waits no longer than `CANCELLING` for a server that is not heard of."""
    monkeypatch.setattr(connections, "CANCELLING", 0.2)
    connection = await Connection.open(proxy.dsn, NAME)
    proxy.half_open(new=True)

    with anyio.move_on_after(0.1) as scope:
        await connection.execute("SELECT 1")

    assert scope.cancelled_caught
    assert connection.closed
    proxy.cut()
    await sessions.until()


async def test_connection_gives_up_when_the_server_does_not_answer(
    proxy: Proxy, sessions: Sessions
) -> None:
    """After `connect_timeout` seconds; nothing is left of it."""
    proxy.half_open(new=True)

    with pytest.raises(errors.ConnectionTimeout):
        await Connection.open(make_conninfo(proxy.dsn, connect_timeout=1), NAME)

    await sessions.until()


async def test_connection_leaves_no_session_when_connecting_is_cancelled(
    proxy: Proxy, sessions: Sessions
) -> None:
    """At any of the steps of a log-in, each of which the proxy holds up."""
    proxy.delay(0.02)
    for limit in range(1, 12):
        with anyio.move_on_after(limit / 100):
            await (await Connection.open(proxy.dsn, NAME)).close()

    await sessions.until()


async def test_connection_sends_and_reads_more_than_a_socket_takes(connection: Connection) -> None:
    """It reads while it writes: the server answers before it has read all."""
    large = Blobs([bytes(1 << 20)] * 64)

    cursor = await connection.execute("SELECT unnest(%s::bytea[])", (large,))

    assert [value for (value,) in await cursor.fetchall()] == [*large]


async def test_connection_is_usable_or_closed_when_cancelled_amid_a_large_statement(
    connection: Connection, sessions: Sessions
) -> None:
    """Half of it may be on its way: the server cannot stop what it has not got yet."""
    large = Blobs([bytes(1 << 20)] * 64)
    await connection.execute("SELECT 1")

    for steps in range(12):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.execute, "SELECT length(%s::bytea[]::text)", (large,))
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        if connection.closed:
            break
        assert not connection.busy
        assert await pid(connection)

    if connection.closed:
        await sessions.until()
