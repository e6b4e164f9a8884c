"""The proxy in front of the server: each fault does what it says, and no more."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest

from tests.faults.processes import wait_until
from tests.servers.postgres import Server
from tests.servers.proxy import Proxy, named, proxied

Connection = psycopg.Connection[tuple[object, ...]]
Connect = Callable[..., Connection]


@pytest.fixture
def proxy(postgres: str) -> Iterator[Proxy]:
    """Give a proxy in front of the shared server."""
    with proxied(postgres) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy: Proxy) -> Iterator[Connect]:
    """Give a function that connects through the proxy."""
    connections: list[Connection] = []

    def connect(application: str = "", limit: int = 10) -> Connection:
        connection = psycopg.connect(
            proxy.dsn, autocommit=True, application_name=application, connect_timeout=limit
        )
        connections.append(connection)
        return connection

    yield connect
    for connection in connections:
        connection.close()


@pytest.fixture
def rows(postgres: str, postgres_schema: str) -> Iterator[Callable[[], int]]:
    """Give a function that counts the rows of the table `kept`, beside the proxy."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create schema {postgres_schema}".encode())
        connection.execute(f"set search_path to {postgres_schema}".encode())
        connection.execute("create table kept (n int)")

        def count() -> int:
            return int(str(ask(connection, "select count(*) from kept")))

        yield count


def ask(connection: Connection, question: str = "select 1") -> object:
    """Answer the one value of *question*."""
    row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def test_proxy_forwards_what_is_small_and_what_is_large(connect: Connect) -> None:
    """Without a command it is as if it was not there."""
    connection = connect()

    assert ask(connection) == 1
    assert ask(connection, "select repeat('x', 1000000)") == "x" * 1_000_000
    assert ask(connection, f"select length('{'y' * 1_000_000}')") == 1_000_000


def test_proxy_serves_many_connections_at_once(proxy: Proxy, connect: Connect) -> None:
    """Each has its own connection to the server."""
    connections = [connect() for _ in range(10)]

    sessions = {ask(one, "select pg_backend_pid()") for one in connections}

    assert len(sessions) == 10
    assert proxy.links() == 10


def test_proxy_forwards_the_end_of_a_connection(proxy: Proxy, connect: Connect) -> None:
    """A client that closes leaves no session behind."""
    connection, other = connect("closing"), connect()

    connection.close()

    sessions = "select count(*) from pg_stat_activity where application_name = 'closing'"
    wait_until(lambda: ask(other, sessions) == 0, 10.0, "the session is gone")
    wait_until(lambda: proxy.links() == 1, 10.0, "the link is gone")


def test_cut_breaks_all_connections_and_lets_new_ones_in(proxy: Proxy, connect: Connect) -> None:
    """Whoever has a connection has to connect anew."""
    connections = [connect(), connect()]

    proxy.cut()

    for connection in connections:
        with pytest.raises(psycopg.OperationalError):
            ask(connection)
    assert ask(connect()) == 1
    assert proxy.cuts == 2


def test_cut_breaks_only_the_connections_that_are_chosen(proxy: Proxy, connect: Connect) -> None:
    """They are known by what they call themselves."""
    control, fetch = connect("app control"), connect("app fetch")

    proxy.cut(named("control"))

    assert ask(fetch) == 1
    with pytest.raises(psycopg.OperationalError):
        ask(control)


def test_cut_after_forwards_so_many_bytes_and_no_more(proxy: Proxy, connect: Connect) -> None:
    """A statement of which the server got half is not executed, and its connection is broken."""
    connection = connect()
    assert ask(connection, f"select length('{'y' * 2000}')") == 2000

    proxy.cut_after(1000)

    with pytest.raises(psycopg.OperationalError):
        ask(connection, f"select length('{'y' * 2000}')")
    assert proxy.cuts == 1


def test_cut_after_lets_what_is_shorter_through(proxy: Proxy, connect: Connect) -> None:
    """The bytes of both directions count."""
    connection = connect()

    proxy.cut_after(1000)

    assert ask(connection) == 1
    with pytest.raises(psycopg.OperationalError):
        ask(connection, "select repeat('x', 1000)")


@pytest.mark.parametrize("transaction", [False, True])
def test_lose_answers_cuts_after_the_commit(
    proxy: Proxy,
    connect: Connect,
    rows: Callable[[], int],
    postgres_schema: str,
    transaction: bool,
) -> None:
    """The client sees a broken connection, and the row is there all the same."""
    connection = connect()
    connection.execute(f"set search_path to {postgres_schema}".encode())
    insert = b"insert into kept values (1)"

    if transaction:
        connection.execute("begin")
        proxy.lose_answers()
        connection.execute(insert)  # within the transaction nothing is lost
        insert = b"commit"
    else:
        proxy.lose_answers()
    with pytest.raises(psycopg.OperationalError):
        connection.execute(insert)

    assert rows() == 1
    assert ask(connect()) == 1


def test_lose_answers_counts(proxy: Proxy, connect: Connect, rows: Callable[[], int]) -> None:
    """Of three connections two lose an answer, those that are chosen."""
    other = connect()
    proxy.lose_answers(2, named("chosen"))
    chosen = [connect("chosen") for _ in range(3)]  # to log in is no transaction

    lost = 0
    assert ask(other) == 1
    for connection in chosen:
        with suppress(psycopg.OperationalError):
            ask(connection)
            continue
        lost += 1

    assert lost == proxy.lost == 2
    assert ask(other) == 1


def test_delay_holds_answers_up_until_healed(proxy: Proxy, connect: Connect) -> None:
    """The answer comes, and not before its time."""
    connection = connect()
    proxy.delay(0.3)
    began = time.monotonic()

    assert ask(connection) == 1

    assert time.monotonic() - began >= 0.3
    proxy.heal()
    assert proxy._delay == (0.0, 0.0)
    assert ask(connection) == 1


def test_delay_has_jitter_and_keeps_the_order(proxy: Proxy, connect: Connect) -> None:
    """Answers of one connection do not overtake each other."""
    connection = connect()
    proxy.delay(0.0, jitter=0.02)

    with connection.pipeline():
        cursors = [connection.execute("select %s::int", (n,)) for n in range(50)]
    answers = [cursor.fetchone() for cursor in cursors]

    assert answers == [(n,) for n in range(50)]


def test_half_open_links_swallow_everything_and_stay_open(proxy: Proxy, connect: Connect) -> None:
    """Neither side hears of the other, not even that it is gone; new connections are well."""
    connection = connect("swallowed")
    session = ask(connection, "select pg_backend_pid()")
    heard = threading.Event()

    def wait() -> None:
        with suppress(psycopg.OperationalError):
            ask(connection)
        heard.set()

    proxy.half_open()
    waiting = threading.Thread(target=wait)
    waiting.start()
    other = connect()
    sessions = "select count(*) from pg_stat_activity where application_name = 'swallowed'"

    assert not heard.wait(0.3)
    assert ask(other, sessions) == 1
    assert ask(other, f"select pg_terminate_backend({session})") is True
    wait_until(lambda: ask(other, sessions) == 0, 10.0, "the session is gone")
    assert not heard.wait(0.3)

    proxy.cut(named("swallowed"))
    waiting.join(10.0)
    assert heard.is_set()


def test_half_open_swallows_new_connections_until_healed(proxy: Proxy, connect: Connect) -> None:
    """Whoever connects gets no answer."""
    proxy.half_open(new=True)

    with pytest.raises(psycopg.errors.ConnectionTimeout):
        connect(limit=2)

    proxy.heal()
    assert ask(connect()) == 1


def test_refuse_leaves_connections_and_lets_no_new_one_in(proxy: Proxy, connect: Connect) -> None:
    """Until healed it is as if no server ran there."""
    connection = connect()

    proxy.refuse()

    assert ask(connection) == 1
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect()
    proxy.heal()
    assert ask(connect()) == 1


def test_proxy_refuses_and_cuts_while_the_server_is_down() -> None:
    """A server that stops takes the links along; started again, the same DSN leads to it."""
    with Server() as server, proxied(server.dsn) as proxy:
        with psycopg.connect(proxy.dsn, autocommit=True) as connection:
            server.stop()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(proxy.dsn)

        server.start()

        with psycopg.connect(proxy.dsn, autocommit=True) as connection:
            assert ask(connection) == 1
