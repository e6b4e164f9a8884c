"""A store and a crew of worker processes for each test."""

import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults import store_postgres, store_sqlite
from tests.faults.processes import Crew
from tests.faults.setting import LOOPS, Loop
from tests.faults.store import Opening, Store
from tests.servers.postgres import Server
from tests.servers.proxy import Proxy, proxied


@pytest.fixture(scope="session")
def durable() -> Iterator[str]:
    """Give the DSN of a server, as it is shipped, that the tests of this process share."""
    with Server(durable=True) as server:
        yield server.dsn


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server, as it is shipped, to one test, which may stop it."""
    with Server(durable=True) as server:
        yield server


@pytest.fixture
def proxy(store: store_postgres.PostgresStore) -> Iterator[Proxy]:
    """Give a proxy in front of the server of the store."""
    with proxied(store.dsn) as proxy:
        yield proxy


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    """Name the backend of a test; what is about one of them only is marked so."""
    return str(request.param)


@pytest.fixture
def open_store(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Opening:
    """Give what makes the stores of a test."""
    if backend == "sqlite":
        return partial(store_sqlite.opened, tmp_path)
    if "server" in request.fixturenames:
        return partial(store_postgres.opened, tmp_path, request.getfixturevalue("server").dsn)
    return partial(store_postgres.opened, tmp_path, request.getfixturevalue("durable"))


@pytest.fixture
def store(open_store: Opening) -> Iterator[Store]:
    """Give an empty store."""
    with open_store() as store:
        yield store


@pytest.fixture
def crew(tmp_path: Path, store: Store) -> Iterator[Crew]:
    """Give a crew, and end it; show what its processes complained of, should the test fail."""
    crew = Crew(tmp_path)
    try:
        yield crew
    finally:
        crew.close()
        if crew.log.exists():
            sys.stderr.write(crew.log.read_text()[-40_000:])


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Give the seed of what is left to chance; FAULT_SEED in the environment repeats a run's."""
    return int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1 << 32))


@pytest.fixture
def chance(seed: int) -> random.Random:
    """Give a source of chance."""
    return random.Random(seed)  # noqa: S311 - no secret


@pytest.fixture
def loop(chance: random.Random) -> Loop:
    """Give an event loop by chance: each scenario need not run on both every time."""
    return chance.choice(LOOPS)


@pytest.fixture
def report(
    capsys: pytest.CaptureFixture[str], backend: str, seed: int
) -> Callable[[str, str], None]:
    """Give a function that shows figures of a scenario, also to `tests.faults.__main__`."""

    def show(scenario: str, figures: str) -> None:
        line = f"{scenario}: {figures} (seed {seed})\n"
        with capsys.disabled():
            sys.stderr.write(f"\n{backend}: {line}")
        if folder := os.environ.get("FAULT_REPORTS"):
            with Path(folder, f"faults-{backend}.txt").open("a", encoding="utf-8") as file:
                file.write(line)

    return show
