"""The server is stopped and started again, under workers and a program that pushes."""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest

from tests.faults.backends import on_postgres
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import TASKS
from tests.faults.store_postgres import PostgresStore
from tests.faults.trouble import disturb
from tests.faults.work import LIMIT, MAX_IN_FLIGHT, Work, broken, held, stop
from tests.servers.postgres import Server

pytestmark = on_postgres

RESTARTS = max(3, TASKS // 1000)
RECOVERY = 5.0
"""Seconds from the moment that the server lets clients in, until a task is claimed again."""
DOWN = (0.0, 0.0, 8.0)
"""Seconds for which the server is away; what a restart takes comes on top."""

Way = Literal["fast", "immediate", "kill"]


def restart(server: Server, way: Way, down: float) -> None:
    """Stop a server, and start it again."""
    if way == "kill":
        server.kill()
    else:
        server.stop(way)
    time.sleep(down)
    server.start()


@pytest.mark.parametrize("way", ["fast", "immediate", "kill"])
@pytest.mark.timeout(LIMIT + 60)
def test_a_restart_of_the_server_loses_nothing(
    server: Server,
    store: PostgresStore,
    crew: Crew,
    chance: random.Random,
    way: Way,
    report: Callable[[str, str], None],
) -> None:
    """Workers connect again by themselves, within five seconds; what was accepted is done once."""
    recoveries: list[float] = []

    def restart_again_and_again(beside: PostgresStore) -> None:
        for number in range(RESTARTS):
            due = TASKS * (number + 1) // (RESTARTS + 2)
            wait_until(partial(done_at_least, beside, due), LIMIT, f"{due} tasks done")
            restart(server, way, DOWN[number % len(DOWN)])
            recoveries.append(wait_for_a_claim(beside))

    figures = disturb(Work(store, crew, chance), store, store.dsn, restart_again_and_again)
    stop(crew)

    extra = RESTARTS * 4 * MAX_IN_FLIGHT
    # A crash of the server may take claims back: they are committed without waiting for the disk.
    forgotten = 0 if way == "fast" else RESTARTS
    assert broken(store, crew, extra=extra, forgotten=forgotten) == []
    assert max(recoveries) <= RECOVERY
    report(
        f"server restarted, {way}",
        f"{held(store)} (bound {extra:,}), {RESTARTS} restarts, tasks are claimed again after at "
        f"most {max(recoveries):.1f} s, {figures}",
    )


def done_at_least(store: PostgresStore, due: int) -> bool:
    """Whether so many tasks are done."""
    return store.done() >= due


def wait_for_a_claim(store: PostgresStore) -> float:
    """Wait until more is claimed; answer the seconds that it took."""
    before = store.claims()
    return wait_until(lambda: store.claims() > before, LIMIT, "a task is claimed")
