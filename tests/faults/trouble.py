"""What goes on beside the workers: a program that pushes, and whoever makes trouble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import anyio

from layered import PostgresStorage
from layered.errors import BackendError
from layered.worker.builder import SettingsChange
from tests.faults.producer import task_id
from tests.faults.setting import LOOPS, TASKS, PlainUnit, Unit
from tests.faults.store_postgres import PostgresStore
from tests.faults.work import Work

BATCH = 20
"""Tasks that are pushed at the same time."""
PAUSE = 0.05
"""Seconds between them, so that pushing lasts as long as the trouble does."""


def push_meanwhile(store: PostgresStore, units: Sequence[Unit], dsn: str) -> Future[int]:
    """
    Push *units* one by one while others work, with ids made of their numbers.

    Each is pushed again until it is accepted, also when it is unknown whether it was before.

    Returns:
        A future: how many pushes were repeated.
    """
    store.numbers.update((unit.number, task_id(unit.number)) for unit in units)
    return store.portal.start_task_soon(_push_all, store.schema, units, dsn)


async def _push_all(schema: str, units: Sequence[Unit], dsn: str) -> int:
    repeated: list[int] = []
    storage: PostgresStorage[Unit | PlainUnit] = PostgresStorage(
        dsn, Unit | PlainUnit, schema=schema
    )

    async def push(unit: Unit) -> None:
        while True:
            try:
                await storage.push(unit, id=task_id(unit.number), max_lost=1000)
            except BackendError:
                repeated.append(unit.number)
                await anyio.sleep(0.05)
            else:
                return

    async with storage:
        for start in range(0, len(units), BATCH):
            async with anyio.create_task_group() as group:
                for unit in units[start : start + BATCH]:
                    group.start_soon(push, unit)
            await anyio.sleep(PAUSE)
    return len(repeated)


def disturb(
    work: Work, store: PostgresStore, dsn: str, make_trouble: Callable[[PostgresStore], None]
) -> str:
    """
    Have four workers do all tasks, while they are pushed, and while somebody makes trouble.

    Args:
        work: Has the workers.
        store: Where to.
        dsn: Leads workers and pushes to the server, perhaps through a proxy.
        make_trouble: Called in a thread once all workers run, with a store to ask questions.

    Returns:
        Figures, when all tasks have ended and the trouble is over.
    """
    units = [Unit(n, seconds=work.chance.uniform(0.0, 0.05)) for n in range(TASKS)]
    numbers = SettingsChange(lease=5.0, concurrency=8)
    settings = [store.setting(dsn=dsn, loop=loop, numbers=numbers) for loop in LOOPS * 2]

    def make() -> None:
        work.wait_until_running()
        with closing(store.beside()) as beside:
            make_trouble(beside)

    with ThreadPoolExecutor(1) as pool:
        pushing, trouble = push_meanwhile(store, units, dsn), pool.submit(make)
        try:
            seconds = work.do(settings, until=lambda: pushing.done() and trouble.done())
        finally:
            pushing.cancel()
        trouble.result()
    return f"{pushing.result()} pushes repeated, {seconds:.1f} s"
