"""All libraries on PostgreSQL are timed by the same lines."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from benchmarks.peers import served
from benchmarks.peers.served import BULK, EVERY, WARM, Mails, latency, rates


class Machine:
    """A clock that stands still but for what is done; processor time goes at half its speed."""

    Event = anyio.Event

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def processor(self) -> float:
        return self.now / 2

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await anyio.lowlevel.checkpoint()


class Fake:
    """A library that takes 1 s for a push, 10 for many, 2 for a task and 100 to stop."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.pushed: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self.most = 0
        self.handled: Callable[[int], None] | None = None

    @asynccontextmanager
    async def opened(self, dsn: str, most: int) -> AsyncIterator["Fake"]:
        assert dsn == "dsn"
        self.most = most
        yield self

    async def push(self, mail: dict[str, Any]) -> None:
        self.machine.now += 1
        self.calls.append(1)
        self.pushed.append(mail)
        if self.handled:  # a worker is running
            self.machine.now += 0.001 * (mail["id"] - WARM)
            self.handled(mail["id"])

    async def push_many(self, mails: Mails) -> None:
        self.machine.now += 10
        self.calls.append(len(mails))
        self.pushed += mails

    @asynccontextmanager
    async def working(self, handled: Callable[[int], None]) -> AsyncIterator[None]:
        for mail in self.pushed:
            self.machine.now += 2
            handled(mail["id"])
        self.handled = handled
        yield
        self.machine.now += 100


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Give a library, and let its machine's clock be ours."""
    machine = Machine()
    monkeypatch.setattr(served, "perf_counter", machine.clock)
    monkeypatch.setattr(served, "process_time", machine.processor)
    return Fake(machine)


async def test_rates_are_of_each_step_alone_until_every_end_is_written(fake: Fake) -> None:
    """Pushes, bulk and work do not share their time; a worker has worked when it has stopped."""
    tasks = 100 + 2 * BULK

    figures = await rates(fake.opened, fake.machine, 7, tasks, 100, "dsn")

    assert fake.calls == [1] * 100 + [BULK] * 2
    assert [mail["id"] for mail in fake.pushed] == [*range(tasks)]
    assert fake.most == 7
    assert figures == {
        "push": 1.0,
        "bulk": 20 / (2 * BULK),
        "process": (2 * tasks + 100) / tasks,
        "processor": (2 * tasks + 100) / tasks / 2,
    }


async def test_rates_have_no_bulk_where_all_is_pushed_one_by_one(fake: Fake) -> None:
    """A library without a push of many has no figure for it."""
    figures = await rates(fake.opened, fake.machine, 7, 3, 3, "dsn")

    assert "bulk" not in figures


async def test_latency_is_from_the_call_of_push_to_the_start_of_the_handler(fake: Fake) -> None:
    """The first samples do not count, and the push itself is a part."""
    figures = await latency(fake.opened, fake.machine, 7, 100, "dsn")

    assert figures == {"p50": pytest.approx(1.050), "p99": pytest.approx(1.099)}
    assert len(fake.pushed) == WARM + 100


async def test_latency_pushes_at_a_steady_pace(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a push takes is no pause longer: the next comes when it is due, or at once."""
    slept: list[float] = []
    sleep = fake.machine.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(fake.machine, "sleep", noted)

    await latency(fake.opened, fake.machine, 7, 5, "dsn")

    assert slept[1] == 0.0
    assert all(pause == 0.0 or pause <= EVERY for pause in slept[1:])
