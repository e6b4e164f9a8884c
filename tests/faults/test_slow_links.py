"""The server is far away: each answer takes 0.2 s, and then up to 2 s more by chance."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_postgres
from tests.faults.processes import Crew
from tests.faults.setting import LOOPS, TASKS, Unit
from tests.faults.store_postgres import PostgresStore
from tests.faults.work import LIMIT, Work, broken, held, stop
from tests.servers.proxy import Proxy

pytestmark = on_postgres


@pytest.mark.parametrize("jitter", [0.0, 2.0])
@pytest.mark.timeout(LIMIT + 60)
def test_slow_answers_lose_no_lease(
    store: PostgresStore,
    crew: Crew,
    proxy: Proxy,
    chance: random.Random,
    jitter: float,
    report: Callable[[str, str], None],
) -> None:
    """Everything takes its time; nothing runs twice."""
    proxy.delay(0.2)
    numbers = SettingsChange(concurrency=TASKS // 10)
    settings = [store.setting(dsn=proxy.dsn, loop=loop, numbers=numbers) for loop in LOOPS * 2]
    work = Work(store, crew, chance)

    def push() -> None:
        work.wait_until_running()
        proxy.delay(0.2, jitter)
        store.push([Unit(n) for n in range(TASKS)])

    with ThreadPoolExecutor(1) as pool:
        pushed = pool.submit(push)
        seconds = work.do(settings, until=pushed.done)
    stop(crew, limit=60.0)

    pushed.result()
    assert store.reaped() == 0
    assert broken(store, crew, extra=0) == []
    report(
        f"answers late by 0.2 s and up to {jitter:g} s more",
        f"{held(store)}, leases lost 0, {seconds:.1f} s",
    )
