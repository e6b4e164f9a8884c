"""That the page about transactions is true: its programs run against a server."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.docs_examples.run_page import SKIPPED
from tests.docs_examples.test_output import printed
from tests.docs_examples.test_postgres_page import made_database
from tests.house.source import ROOT

PAGE = (ROOT / "docs" / "transactions.md").read_text()

DJANGO = """
```python
import sys, types
import django
from django.conf import settings

settings.configure(DATABASES={{"default": {{
    "ENGINE": "django.db.backends.postgresql",
    "HOST": "{host}", "PORT": "{port}", "USER": "{user}", "NAME": "{dbname}",
}}}})
django.setup()

from django.db import models


class Model(models.Model):
    item = models.TextField()
    shipped = models.BooleanField(default=False)

    class Meta:
        app_label, db_table = "shop", "orders"


shop = types.ModuleType("shop.models")
shop.Order = Model
sys.modules["shop"] = sys.modules["shop.models"] = shop
```
"""
"""A project, before the page's view of it."""

PROGRAM = """
```python
import anyio


async def main() -> None:
    take_order("SQLAlchemy")
    await take_order_async("async SQLAlchemy")
    order_view("Django")
    take_order_psycopg("psycopg")
    async with asyncpg.create_pool(f"postgresql://{DATABASE}", min_size=1) as pool:
        await take_order_asyncpg(pool, "asyncpg")
    async with storage:
        for handler in (ship, ship_too):
            await WorkerBuilder("shop").backend(storage).build(handler).run(burst=True)
            take_order("last")
        print(sum((await storage.counts("default"))["Ship"].values()))
    await async_engine.dispose()


async def run():
    await storage.migrate()
    Base.metadata.create_all(engine)
    await main()
    engine.dispose()
    connection.close()


import os
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
anyio.run(run)
```
"""


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """Give the DSN of an empty database."""
    with made_database(postgres) as dsn:
        yield dsn


def test_programs_of_the_page_take_orders_and_ship_them(database: str, tmp_path: Path) -> None:
    """Each way of taking an order leaves it and its task; both ways of shipping ship it."""
    parts = conninfo_to_dict(database)
    text = "\n".join(line for line in PAGE.splitlines() if not SKIPPED.search(line))
    text = text.replace("app@db.example/app", "{user}@{host}:{port}/{dbname}".format(**parts))
    text = text.replace("### Django\n", DJANGO.format(**parts), 1)
    program = tmp_path / "page.md"
    program.write_text(text + PROGRAM)

    outputs = [*printed(program, tmp_path).values()]

    with psycopg.connect(database) as connection:
        orders = connection.execute("SELECT item, shipped FROM orders ORDER BY id").fetchall()
        states = connection.execute("SELECT state FROM layered.task ORDER BY id").fetchall()
    assert outputs[-1] == "7\n"
    assert orders == [
        *((item, True) for item in ("SQLAlchemy", "async SQLAlchemy", "Django", "psycopg")),
        ("asyncpg", True),
        ("last", True),
        ("last", False),
    ]
    assert states == [(5,)] * 6 + [(3,)]


def test_limits_of_the_page_are_those_of_the_code() -> None:
    """The seconds of an effect, how many run at a time, and the polls."""
    from layered import PostgresStorage
    from layered.backends.postgres.lane import LIMIT
    from layered.backends.postgres.pool import EFFECTS

    notified = PostgresStorage.with_notify("", str)

    assert f"has {LIMIT:g} seconds" in PAGE
    assert f"{['no', 'one', 'two', 'three', 'four'][EFFECTS]} of them run" in PAGE
    assert f"next poll, within {PostgresStorage.poll:g} second." in PAGE
    assert f"look only each {notified.poll:g} seconds." in PAGE
