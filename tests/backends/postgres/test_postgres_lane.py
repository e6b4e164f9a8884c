"""A lane: one connection, whoever uses it and however it ends."""

from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from layered.backends.postgres.connection import Connection
from layered.backends.postgres.lane import Lane
from layered.errors import BackendBroken, BackendClosed, Transient
from tests.backends.postgres.sessions import Sessions
from tests.servers.proxy import Proxy, proxied

ENDLESS = 1e9
NAME = "layered under test"


@pytest.fixture
def proxy(postgres: str) -> Iterator[Proxy]:
    """Give a proxy in front of the server."""
    with proxied(postgres) as proxy:
        yield proxy


@pytest.fixture
def sessions(postgres: str) -> Iterator[Sessions]:
    """Give what the server knows of the lane."""
    sessions = Sessions(postgres, NAME)
    yield sessions
    sessions.close()


@pytest.fixture
async def lane(proxy: Proxy, sessions: Sessions) -> AsyncIterator[Lane]:
    """Give a lane; after its end no session is left."""
    lane = Lane(proxy.dsn, "the server", "under test", {})
    yield lane
    await lane.aclose()
    await sessions.until()


async def pid(connection: Connection) -> int:
    """Ask for the process of the session."""
    ((number,),) = await (await connection.execute("SELECT pg_backend_pid()")).fetchall()
    return int(number)


async def sleep(connection: Connection) -> None:
    """Have the server wait."""
    await connection.execute("SELECT pg_sleep(60)")


async def test_lane_keeps_its_connection(lane: Lane) -> None:
    """It connects once."""
    assert await lane.run(pid) == await lane.run(pid)


async def test_lane_connects_again_when_its_session_died_unnoticed(
    lane: Lane, sessions: Sessions
) -> None:
    """The work is done on a new one, and its caller hears nothing of that."""
    before = await lane.run(pid)
    assert sessions.terminate() == 1

    after = await lane.run(pid)

    assert after != before
    assert sessions.states().keys() == {after}


async def test_lane_repeats_no_work_that_must_not_be(lane: Lane, sessions: Sessions) -> None:
    """Its caller hears that the connection broke; the next one gets a new one."""
    before = await lane.run(pid)
    sessions.terminate()

    with pytest.raises(BackendBroken):
        await lane.run(pid, again=False)

    assert await lane.run(pid, again=False) != before


async def test_lane_repeats_work_once(lane: Lane, sessions: Sessions) -> None:
    """Work whose connection breaks each time is given up."""
    await lane.run(pid)
    times = []

    async def fatal(connection: Connection) -> None:
        times.append(await pid(connection))
        sessions.terminate()
        await connection.execute("SELECT 1")

    with pytest.raises(BackendBroken):
        await lane.run(fatal)

    assert len(set(times)) == 2


async def test_lane_repeats_nothing_on_a_connection_just_made(
    lane: Lane, sessions: Sessions
) -> None:
    """That has not died unnoticed: the server is in trouble."""
    times = []

    async def fatal(connection: Connection) -> None:
        times.append(await pid(connection))
        sessions.terminate()
        await connection.execute("SELECT 1")

    with pytest.raises(BackendBroken):
        await lane.run(fatal)

    assert len(times) == 1


async def test_lane_is_usable_again_when_work_took_too_long(lane: Lane, sessions: Sessions) -> None:
    """The server was stopped, and the session is the same."""
    before = await lane.run(pid)

    with pytest.raises(Transient, match=r"using the server: no answer within 0\.1 s") as raised:
        await lane.run(sleep, limit=0.1)

    assert type(raised.value) is Transient
    assert sessions.states() == {before: "idle"}
    assert await lane.run(pid) == before


async def test_lane_takes_the_time_of_a_turn_into_account(lane: Lane, sessions: Sessions) -> None:
    """Who waits for somebody else's work is told that it takes too long."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lane.run, sleep)
        await sessions.until("active")

        with pytest.raises(Transient):
            await lane.run(pid, limit=0.1)

        tasks.cancel_scope.cancel()


async def test_lane_limits_connecting_too(lane: Lane, proxy: Proxy) -> None:
    """A server that does not let in, nor out, holds nobody up."""
    proxy.half_open(new=True)

    with pytest.raises(Transient):
        await lane.run(pid, limit=0.1)

    proxy.heal()
    assert await lane.run(pid)


async def test_lane_serves_the_next_when_its_user_is_cancelled(
    lane: Lane, sessions: Sessions
) -> None:
    """The connection came free, and goes to whoever waits for it."""
    before = await lane.run(pid)
    found = []

    async def second() -> None:
        found.append(await lane.run(pid))

    async with anyio.create_task_group() as tasks, anyio.create_task_group() as first:
        first.start_soon(lane.run, sleep)
        await sessions.until("active")
        tasks.start_soon(second)
        await anyio.lowlevel.checkpoint()
        first.cancel_scope.cancel()

    assert found == [before]


async def test_lane_gives_away_no_connection_with_an_open_transaction(lane: Lane) -> None:
    """Work that ends amid one has its connection closed, and so undone."""

    async def leave(connection: Connection) -> int:
        await connection.execute("BEGIN")
        return await pid(connection)

    before = await lane.run(leave)

    assert await lane.run(pid) != before


async def test_lane_is_usable_when_work_raises_an_error_of_its_own(lane: Lane) -> None:
    """That is passed on as it is."""
    before = await lane.run(pid)

    async def fail(connection: Connection) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await lane.run(fail)

    assert await lane.run(pid) == before


async def test_lane_serves_again_when_the_server_is_back(lane: Lane, proxy: Proxy) -> None:
    """Meanwhile it says that the server is away."""
    await lane.run(pid)
    proxy.refuse()
    proxy.cut()

    for _ in range(2):
        with pytest.raises(BackendBroken, match="using the server: ") as raised:
            await lane.run(pid)
        assert raised.value.__cause__ is not None

    proxy.heal()
    assert await lane.run(pid)


async def test_lane_finishes_its_work_and_refuses_more_when_it_is_closed(
    lane: Lane, sessions: Sessions
) -> None:
    """Also who waits for a turn already."""
    told: list[object] = []
    go_on = anyio.Event()

    async def work(connection: Connection) -> None:
        await go_on.wait()
        told.append(await pid(connection))

    async def wait() -> None:
        with pytest.raises(BackendClosed):
            await lane.run(pid)
        told.append("refused")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lane.run, work)
        await sessions.until("idle")
        tasks.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        tasks.start_soon(lane.aclose)
        await anyio.lowlevel.checkpoint()
        go_on.set()

    assert [type(each) for each in told] == [int, str]
    with pytest.raises(BackendClosed):
        await lane.run(pid)


async def test_lane_sets_its_sessions_up(proxy: Proxy, sessions: Sessions) -> None:
    """Each session anew."""
    lane = Lane(proxy.dsn, "the server", "under test", {"synchronous_commit": "off"})

    async def setting(connection: Connection) -> object:
        return (await (await connection.execute("SHOW synchronous_commit")).fetchall())[0][0]

    before = await lane.run(setting)
    sessions.terminate()
    after = await lane.run(setting)
    await lane.aclose()

    assert (before, after) == ("off", "off")
