"""The worker's own dispatch without a store: a real `Pool`, fed with leases made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import attrs
from anyio.abc import TaskGroup
from typing_extensions import TypeForm

from benchmarks.mail import MAIL, Mail
from layered import Service, Stack, Task
from layered.handler import Setting, compile_handler
from layered.service import LayerLike
from layered.service.clock import loop_clock
from layered.task import NEVER, NO_METADATA, Fence, Kind, Kinds, Lease, new_id
from layered.worker.events import Bus
from layered.worker.flight import Flight
from layered.worker.pool import Job, Pool
from layered.worker.settle import Entry, Settler
from layered.worker.ticker import Ticker

CONCURRENCY = 100


class StubCodec:
    """Decodes to `MAIL` whatever the bytes are: what the codec costs is another question."""

    name = "stub"

    def encoder(self, form: TypeForm[Any], /) -> Callable[[Any], bytes]:
        """Answer a function that answers no bytes."""
        return lambda _: b""

    def decoder(self, form: TypeForm[Any], /) -> Callable[[bytes], Any]:
        """Answer a function that answers `MAIL`."""
        return lambda _: MAIL


KIND = Kind(Mail, codec=StubCodec())


class Collected(Settler):
    """Stands in for the settler: collects how runs ended, and writes nothing."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def put(self, entry: Entry) -> None:
        """Collect."""
        self.entries.append(entry)


@attrs.frozen
class Host:
    """The worker, as runs know it."""

    name: str = "bench"
    owner: str = "bench/here/1/1"


def handled(handler: Callable[..., object], *data: object) -> Service[Task[Any], Any]:
    """Compile *handler* as a worker does, with *data* to inject."""
    problems: list[str] = []
    setting = Setting({type(each): each for each in data}, 1)
    compiled = compile_handler(handler, Kinds((KIND,)), setting, problems)
    assert compiled is not None, problems
    return compiled.service


class Dispatch:
    """
    Takes tasks through a stack, as a worker would.

    Args:
        crew: Where the consumers run.
        service: The innermost service.
        layers: Around it, outermost first.
        deadline: The worker's limit for a whole task, in seconds.
        tasks: Tasks of one round.
    """

    def __init__(
        self,
        crew: TaskGroup,
        service: Service[Task[Any], Any],
        layers: Sequence[LayerLike] = (),
        *,
        deadline: float | None = None,
        tasks: int = 1000,
    ) -> None:
        clock = loop_clock()
        stack = Stack(*layers).layer(service)
        self._flight = Flight(2 * CONCURRENCY)
        self._settled = Collected()
        ticker = Ticker(self._flight, clock, clock, 5.0)
        job = Job(stack, {KIND.name: KIND}, deadline, CONCURRENCY, 1 << 20)
        self._pool = Pool(job, Host(), self._flight, self._settled, ticker, Bus(()))
        self._pool.start(crew)
        crew.start_soon(ticker.run)
        self._leases = [make_lease() for _ in range(tasks)]

    async def round(self) -> float:
        """Run all tasks; answer seconds per task, from lease to settle list."""
        entries = self._settled.entries = []
        start = perf_counter()
        self._pool.add(self._leases, NEVER)
        await self._pool.idle()
        seconds = perf_counter() - start
        assert len(entries) == len(self._leases)
        assert all(entry.error is None for entry in entries)
        self._flight.land([entry.run for entry in entries])
        return seconds / len(self._leases)


def make_lease() -> Lease:
    """Make a lease, as a store would."""
    fence = Fence(new_id(), 1, bytes(16))
    return Lease(fence, "default", KIND.name, b"{}", "stub", 1, NO_METADATA, 5, 1, None, 0, 0, 0)
