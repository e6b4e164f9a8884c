"""Connections break at any moment, also when a commit is on its way: nobody knows its outcome."""

import random
import time
from collections.abc import Callable

import pytest

from tests.faults.backends import on_postgres
from tests.faults.processes import Crew
from tests.faults.setting import TASKS
from tests.faults.store_postgres import PostgresStore
from tests.faults.trouble import disturb
from tests.faults.work import LIMIT, MAX_IN_FLIGHT, Work, broken, held, stop
from tests.servers.proxy import Proxy

pytestmark = on_postgres

ROUNDS = TASKS // 50
"""Of trouble; each cuts about half of the connections, in one of three ways."""


@pytest.mark.timeout(LIMIT + 60)
def test_connections_that_are_cut_at_random_lose_nothing(
    store: PostgresStore,
    crew: Crew,
    proxy: Proxy,
    chance: random.Random,
    report: Callable[[str, str], None],
) -> None:
    """Cut at once, amid a message, or after a commit and before its answer."""

    def cut_again_and_again(beside: PostgresStore) -> None:
        def some(link: object) -> bool:
            return chance.random() < 0.5

        for _ in range(ROUNDS):
            time.sleep(chance.uniform(0.0, 0.1))  # which moment: this is what chance decides
            match chance.choice(["now", "amid a message", "before an answer"]):
                case "now":
                    proxy.cut(some)
                case "amid a message":
                    proxy.cut_after(chance.randrange(1, 2000), some)
                case _:
                    proxy.lose_answers(chance.randrange(1, 20))

    figures = disturb(Work(store, crew, chance), store, proxy.dsn, cut_again_and_again)
    proxy.heal()
    stop(crew)

    assert proxy.cuts > ROUNDS
    assert proxy.lost > ROUNDS
    extra = proxy.cuts * MAX_IN_FLIGHT
    assert broken(store, crew, extra=extra) == []
    report(
        "connections cut at random",
        f"{held(store)} (bound {extra:,}), {proxy.cuts} cuts, {proxy.lost} of them between a "
        f"commit and its answer, {figures}",
    )
