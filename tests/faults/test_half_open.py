"""Connections are half open: what is sent goes nowhere, and nobody says so."""

from collections.abc import Callable

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_postgres
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import LOOPS, TASKS, Unit
from tests.faults.store import Row
from tests.faults.store_postgres import PostgresStore
from tests.faults.work import LIMIT, broken, held, stop
from tests.servers.proxy import Proxy, Which, every, named

pytestmark = on_postgres

HELD = 8
"""Tasks that run meanwhile."""
BATCH = 10
LINKS: dict[str, Which] = {"of the keeper": named("keeper"), "all": every}


@pytest.mark.parametrize("links", LINKS)
@pytest.mark.timeout(LIMIT + 60)
def test_half_open_connections_cost_time_and_no_lease(
    store: PostgresStore,
    crew: Crew,
    proxy: Proxy,
    links: str,
    report: Callable[[str, str], None],
) -> None:
    """
    Given up after ten seconds, and made anew: soon enough for a lease of the default length.

    Only a claim whose answer is lost costs its tasks a lease: nobody knows of them.
    """
    store.push([Unit(n, "hold") for n in range(HELD)])
    numbers = SettingsChange(concurrency=2 * HELD, batch=BATCH)
    for loop in LOOPS:
        worker = crew.start(store.setting(dsn=proxy.dsn, loop=loop, numbers=numbers))
        worker.wait_for("StateChanged", "running")
    keepers = "application_name = 'layered keeper'"
    wait_until(lambda: store.sessions(keepers) > 0, LIMIT, "the keeper of what is held connects")
    store.push([Unit(n) for n in range(HELD, TASKS)])
    wait_until(lambda: store.done() > TASKS // 4, LIMIT, "some are done")

    until = store.count("SELECT max(lease_until) FROM task WHERE state = 4")
    proxy.half_open(LINKS[links])
    # By numbers: those that nobody knows of are not renewed.
    held_ones = [store.numbers[n] for n in range(HELD)]
    earlier = "SELECT count(*) FROM task WHERE id = ANY(?) AND lease_until <= ?"
    renewed = wait_until(
        lambda: store.count(earlier, held_ones, until) == 0, LIMIT, "all leases are renewed"
    )
    rest = wait_until(lambda: store.done() == TASKS - HELD, LIMIT, "the others are done")
    store.ledger.gate(1).touch()
    wait_until(lambda: store.live() == 0, LIMIT, "all tasks ended")
    stop(crew, limit=30.0)

    rows = store.rows()
    assert [rows[n] for n in range(HELD)] == [Row("done", 1, 0, 1)] * HELD
    assert store.reaped() <= BATCH * len(LOOPS)
    assert links == "all" or store.reaped() == 0
    assert broken(store, crew, extra=0) == []
    report(
        f"half-open connections, {links}",
        f"{held(store)}, leases of running tasks lost 0 of {HELD}, renewed after {renewed:.1f} s, "
        f"the others done after {renewed + rest:.1f} s, of which {store.reaped()} were claimed "
        "without the worker's hearing of it",
    )
