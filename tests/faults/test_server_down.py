"""SIGTERM while the server cannot be reached: a worker ends in limited time all the same."""

import signal
import time
from collections.abc import Callable

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_postgres
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import LOOPS, Loop, Unit
from tests.faults.store import Row
from tests.faults.store_postgres import PostgresStore
from tests.faults.work import broken, held, stop
from tests.servers.proxy import Proxy

pytestmark = on_postgres

GRACE = 0.3
CANCEL_GRACE = 0.5
PHASES = 4
"""Of a drain, each of which may last for the cancel grace: claim, cancel, settle, release."""
CLOSING = 2.0
"""Seconds for the rest: to close connections, and to end the process."""
HELD = 8


def refuse(proxy: Proxy) -> None:
    """Be as a host on which no server runs."""
    proxy.refuse()
    proxy.cut()


def be_silent(proxy: Proxy) -> None:
    """Be as a network that swallows everything."""
    proxy.half_open(new=True)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("go_away", [refuse, be_silent])
def test_sigterm_ends_a_process_in_time_although_the_server_is_away(
    store: PostgresStore,
    crew: Crew,
    proxy: Proxy,
    loop: Loop,
    go_away: Callable[[Proxy], None],
    report: Callable[[str, str], None],
) -> None:
    """No phase of the drain waits without limit; others do its tasks when the leases have ended."""
    numbers = SettingsChange(lease=2.0, concurrency=50, grace=GRACE, cancel_grace=CANCEL_GRACE)
    store.push([Unit(n, "give way") for n in range(HELD)])
    worker = crew.start(store.setting(dsn=proxy.dsn, loop=loop, numbers=numbers))
    wait_until(lambda: len(store.ledger.lines()) == HELD, 15.0, "all are held")
    store.push([Unit(n, seconds=0.01) for n in range(HELD, 1000)])
    wait_until(lambda: store.done() > 100, 15.0, "some are done")

    go_away(proxy)
    time.sleep(0.5)  # settles and claims are on their way
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    status = worker.wait(60.0)
    took = time.monotonic() - began
    crew.start(store.setting(loop=loop, numbers=numbers))
    wait_until(lambda: store.live() == 0, 30.0, "all tasks ended")
    stop(crew)

    rows = store.rows()
    assert status == 0
    assert took < GRACE + PHASES * CANCEL_GRACE + CLOSING
    assert [rows[n] for n in range(HELD)] == [Row("done", 2, 1, 2)] * HELD
    assert broken(store, crew, extra=HELD + 100) == []
    how = go_away.__name__.replace("_", " ")
    report(
        f"SIGTERM while the server is away ({how}), {loop}",
        f"{held(store)}, the worker ended after {took:.1f} s",
    )
