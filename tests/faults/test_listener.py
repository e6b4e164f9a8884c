"""The listener loses its connection, in each way that there is; it listens again, once."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_postgres
from tests.faults.processes import Crew, WorkerProcess, wait_until
from tests.faults.setting import LOOPS, Unit
from tests.faults.store import SLACK
from tests.faults.store_postgres import PostgresStore
from tests.faults.work import broken, stop
from tests.servers.proxy import Proxy, named

pytestmark = on_postgres

TIMES = 100
NOTICED = 15.0
"""Seconds after which a dead listener is noticed, at the most."""
POLL = 5.0 * 1.2
"""Seconds between looks at the store, at the most, without hints."""
LISTENING = "application_name = 'layered listen'"


@pytest.fixture
def workers(store: PostgresStore, crew: Crew, proxy: Proxy) -> list[WorkerProcess]:
    """Give a worker of each loop, with nothing to do, that listens through the proxy."""
    numbers = SettingsChange(concurrency=4)
    started = [
        crew.start(store.setting(dsn=proxy.dsn, notify=True, loop=loop, numbers=numbers))
        for loop in LOOPS
    ]
    for one in started:
        one.wait_for("StateChanged", "running")
    wait_until(lambda: store.sessions(LISTENING) == len(started), 15.0, "all listen")
    return started


def descriptors(workers: list[WorkerProcess]) -> list[int]:
    """Count what each worker has open."""
    return [len(list(Path("/proc", str(one.pid), "fd").iterdir())) for one in workers]


def listeners(store: PostgresStore) -> set[int]:
    """Name the sessions that listen."""
    sql = f"SELECT pid FROM pg_stat_activity WHERE {LISTENING} AND query LIKE 'LISTEN%'"  # noqa: S608
    return {pid for (pid,) in store.query(sql)}


def seconds_until_done(store: PostgresStore, number: int) -> float:
    """Push a task, with a hint; answer how long it took to be done."""
    store.push([Unit(number)])
    store.query("SELECT pg_notify(?, 'default')", f"layered_{store.schema}")
    return wait_until(lambda: store.row(number).state == "done", 30.0, "the task is done")


def test_one_listener_stays_however_often_its_session_is_terminated(
    store: PostgresStore,
    crew: Crew,
    workers: list[WorkerProcess],
    report: Callable[[str, str], None],
) -> None:
    """After each end there is exactly one session for each worker, a new one."""
    seconds_until_done(store, 0)  # every lane is connected
    before = descriptors(workers)
    slowest = 0.0
    for _ in range(TIMES):
        old = listeners(store)
        store.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LISTENING}")  # noqa: S608
        took = wait_until(
            lambda old=old: len(listeners(store) - old) == len(workers),  # type: ignore[misc]
            15.0,
            "all listen again",
        )
        slowest = max(slowest, took)
        assert store.sessions(LISTENING) == len(workers)

    took = seconds_until_done(store, 1)
    after = descriptors(workers)
    stop(crew)

    assert took < SLACK  # by a hint, not by a poll
    assert after == before
    assert broken(store, crew, extra=0) == []
    report(
        "listener terminated",
        f"{TIMES} times, listens again after at most {slowest:.1f} s, sessions that listen "
        f"{len(workers)} of {len(workers)} workers, descriptors as before",
    )


def test_a_half_open_listener_is_noticed_and_costs_a_poll_at_the_most(
    store: PostgresStore,
    crew: Crew,
    workers: list[WorkerProcess],
    proxy: Proxy,
    report: Callable[[str, str], None],
) -> None:
    """No hint comes and no error: tasks wait for the poll, until the ping is not answered."""
    seconds_until_done(store, 0)
    old = listeners(store)

    proxy.half_open(named("listen"))
    began = time.monotonic()
    delays, number = [], 1
    while len(listeners(store) - old) < len(workers):
        assert time.monotonic() - began < NOTICED + SLACK
        delays.append(seconds_until_done(store, number))
        number += 1
    noticed = time.monotonic() - began - delays[-1]
    after = seconds_until_done(store, number)
    stop(crew)

    assert max(delays) < POLL + SLACK
    assert noticed <= NOTICED
    assert after < SLACK
    assert broken(store, crew, extra=0) == []
    report(
        "half-open listener",
        f"listens again after at most {noticed + delays[-1]:.1f} s, until then a task waits for "
        f"{max(delays):.1f} s at the most",
    )
