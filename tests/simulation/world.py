"""A simulated world: one store, several workers, clients, and trouble; then calm."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from datetime import UTC, datetime
from random import Random
from traceback import format_exception
from uuid import UUID

import attrs
import trio

from layered import MemoryStorage, Status
from layered.backend import PushOptions
from layered.errors import BackendError
from layered.task import Draft
from tests.simulation.calm import Calm
from tests.simulation.crew import Shiftwork, Slot, draw_slot
from tests.simulation.faults import NONE, Fault, Faults
from tests.simulation.jobs import FIRST_STEPS, Chore, Job, draw_job
from tests.simulation.ledger import Ledger
from tests.simulation.link import Link
from tests.simulation.scheduling import Process, allow_freezing, evict
from tests.simulation.watch import Watch

START = 1_700_000_000.0
TROUBLE = 10.0
"""Seconds of trouble."""
PATIENCE = 120.0
"""Seconds of calm within which every task must end, and then every worker."""
LONGEST_TRACE = 20_000


@attrs.frozen
class Plan:
    """What a seed decides beforehand."""

    slots: Sequence[Slot]
    retries: int | None
    retry_wait: float
    clients: Sequence[Sequence[int]]
    words: Sequence[str]


def draw_plan(chance: Random) -> Plan:
    """Draw workers, their retries, and how many tasks each client pushes."""
    numbers = range(chance.randint(3, 14))
    half = chance.randint(0, len(numbers))
    return Plan(
        slots=[draw_slot(chance, f"w{n}") for n in range(chance.choice((2, 2, 3, 4)))],
        retries=chance.choice((None, 2, 3)),
        retry_wait=chance.choice((0.0, 0.4, 1.5)),
        clients=[numbers[:half], numbers[half:]],
        words=chance.sample(FIRST_STEPS, chance.randint(1, len(FIRST_STEPS))),
    )


class World:
    """
    All of one simulated run.

    Args:
        seed: Decides everything.
        without: Numbers of faults to leave out.
    """

    def __init__(self, seed: int, without: Collection[int] = ()) -> None:
        chances = [Random(f"{seed} {what}") for what in ("plan", "faults", "story")]  # noqa: S311 - repeatable is the point
        self.plan = draw_plan(chances[0])
        self.faults = Faults(chances[1], without)
        self._chance = chances[2]
        self.trace: list[tuple[object, ...]] = []
        self.failures: list[str] = []
        self._stepped = 0.0
        self.store: MemoryStorage[Job] = MemoryStorage(Job | Chore, now=self.wall)
        self.calm = Calm(self)
        self.ledger = Ledger(self)
        self.watch = Watch(self)
        self.shifts: dict[str, Shiftwork] = {}
        self._closing = False

    def wall(self) -> float:
        """Tell the store's wall clock."""
        return START + trio.current_time() + self._stepped

    def by_the_loop(self, micros: int) -> float:
        """Tell when the loop's clock shows what is *micros* on the store's wall clock."""
        return micros / 1e6 - START - self._stepped

    def note(self, *what: object) -> None:
        """Add to the trace."""
        self.trace.append((trio.current_time(), *what))
        if len(self.trace) > LONGEST_TRACE:
            self.broken("it does not come to an end")

    def broken(self, text: str) -> None:
        """Note that a rule was broken; the first time, the run ends."""
        if not self.failures:
            self.trace.append((trio.current_time(), "BROKEN", text))
            self._failed.set()
        self.failures.append(text)

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Note an error of the simulation's own, which a worker would wait out like the store's."""
        try:
            yield
        except Exception as error:
            self.broken(f"the simulation itself failed: {''.join(format_exception(error))}")
            raise

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do *work* in a while, in no process."""

        async def wait() -> None:
            await trio.sleep(seconds)
            work()

        Context().run(self._nursery.start_soon, wait)

    async def run(self) -> None:
        """Play the whole story."""
        allow_freezing()
        self._failed = trio.Event()
        async with trio.open_nursery() as self._nursery:
            trio.lowlevel.spawn_system_task(self._end_failed, self._nursery.cancel_scope)
            await self._play()
            self._nursery.cancel_scope.cancel()

    async def _end_failed(self, scope: trio.CancelScope) -> None:
        await self._failed.wait()
        for shift in self.shifts.values():
            shift.process.thaw()
        await evict(scope)

    async def _play(self) -> None:
        async with trio.open_nursery() as crew:
            for slot in self.plan.slots:
                crew.start_soon(self._keep_working, slot)
            async with trio.open_nursery() as trouble:
                for number, tasks in enumerate(self.plan.clients):
                    trouble.start_soon(self._push, f"client{number}", tasks)
                trouble.start_soon(self._make_trouble)
            await self._end_trouble()
            with trio.move_on_after(PATIENCE):
                await self.calm.all_ended.wait()
            self._check_all_ended()
            self._closing = True
            for shift in self.shifts.values():
                shift.drain()
            self.later(PATIENCE, lambda: self.broken("a worker does not end"))

    async def _keep_working(self, slot: Slot) -> None:
        number = 0
        while not self._closing:
            number += 1
            shift = Shiftwork(self, slot, f"{slot.name}.{number}")
            self.shifts[slot.name] = shift
            await shift.run()
            await trio.sleep(0.2)

    async def _push(self, name: str, numbers: Sequence[int]) -> None:
        link = Link(self, Process(name))
        for number in numbers:
            await trio.sleep(self._chance.choice((0.0, 0.0, 0.1, 1.0, 2.0)))
            job = draw_job(self._chance, number, self.plan.words)
            options = self._options(number)
            for _ in range(self._chance.choice((1, 1, 1, 2))):
                for _ in range(5):
                    with suppress(BackendError, OSError):
                        await link.push(job, **options)
                        break
                    await trio.sleep(0.3)
        if self._chance.random() < 0.2:
            stranger = Draft(str(UUID(int=1)), "default", "Stranger", b"")
            with suppress(BackendError, OSError):
                await link.insert([stranger])

    def _options(self, number: int) -> PushOptions:
        chance = self._chance
        options: PushOptions = {"id": UUID(int=(number + 1) << 32)}
        options["delay"] = chance.choice((0.0, 0.0, 0.0, 1.0, 5.0))
        options["priority"] = chance.choice((5, 5, 0, 9))
        options["max_lost"] = chance.choice((1, 2, 3, 3))
        if chance.random() < 0.4:
            options["max_attempts"] = chance.randint(1, 4)
        if chance.random() < 0.15:
            expires = self.wall() + chance.random() * 8
            options["expires_at"] = datetime.fromtimestamp(expires, UTC)
        return options

    async def _make_trouble(self) -> None:
        while trio.current_time() < TROUBLE:
            await trio.sleep(self._chance.random() * 3)
            fault = self.faults.of_world()
            shift = self.shifts[self._chance.choice(self.plan.slots).name]
            size = self._chance.uniform(-20, 20)
            if fault is not NONE:
                self.note(shift.process.name, "fault", *fault)
                self._happen(fault, shift, size)

    def _happen(self, fault: Fault, shift: Shiftwork, size: float) -> None:
        process = shift.process
        match fault.kind:
            case "freeze" if not process.frozen:
                process.freeze()
                self.later(fault.seconds, process.thaw)
            case "kill":
                shift.kill()
            case "drain":
                shift.drain()
            case "cut":
                process.cut_until = trio.current_time() + fault.seconds
            case "step":
                self._stepped += size
            case "pause":
                shift.pause()
                self.later(fault.seconds, shift.resume)

    async def _end_trouble(self) -> None:
        """End all trouble."""
        self.faults.stopped = True
        for shift in self.shifts.values():
            shift.process.cut_until = 0.0
            shift.process.thaw()
            shift.resume()
        await trio.sleep(self.faults.longest)  # of what has begun
        self.note("world", "calm")
        self.calm.begin()

    def _check_all_ended(self) -> None:
        for one in self.calm.open_tasks():
            self.broken(f"{one} has not ended: {self.ledger.rows[one]}")
        for one, row in self.ledger.rows.items():
            if self.ledger.drafts[one].name == "Stranger" and row.status is not Status.READY:
                self.broken(f"{one}, of a name that nobody handles, is {row}")
