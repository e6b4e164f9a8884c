"""Workers of a simulated world: each is started again when it ends, as a new process."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import attrs
import tenacity
import trio

from layered import (
    ConcurrencyLimitLayer,
    RetryLayer,
    TimeoutLayer,
    Worker,
    WorkerBuilder,
    WrongState,
)
from layered.errors import BackendError
from layered.task import Fence
from layered.worker import State
from tests.simulation.calm import SLACK
from tests.simulation.jobs import STUBBORN, Job, handlers
from tests.simulation.link import Link
from tests.simulation.scheduling import PROCESS, Process
from tests.simulation.watch import Watch

if TYPE_CHECKING:
    from tests.simulation.world import World

LEASE = 4.0


@attrs.frozen
class Slot:
    """A worker's configuration, the same each time that it is started."""

    name: str
    concurrency: int
    batch: int
    grace: float
    cancel_grace: float
    deadline: float | None
    timeout: float | None
    limited: bool


def draw_slot(chance: Random, name: str) -> Slot:
    """Draw a worker's configuration."""
    return Slot(
        name=name,
        concurrency=chance.choice((1, 2, 4)),
        batch=chance.choice((1, 3, 100)),
        grace=chance.choice((0.0, 1.0, 5.0)),
        cancel_grace=chance.choice((0.0, 0.5, 2.0)),
        deadline=chance.choice((None, None, 2.0, 6.0)),
        timeout=chance.choice((None, 1.0, 3.5)),
        limited=chance.random() < 0.5,
    )


class Shiftwork:
    """
    One process: a worker from its start to its end, or to its death.

    Args:
        world: Where it works.
        slot: Its configuration.
        name: For traces.
    """

    def __init__(self, world: World, slot: Slot, name: str) -> None:
        self.world = world
        self.slot = slot
        self.process = Process(name)
        self.link = Link(world, self.process)
        self.watch: Watch = world.watch
        self.worker: Worker[Job, object] = self._build()
        self._scope = trio.CancelScope()
        self._stopped_at: float | None = None
        self._stood_still = 0.0

    def _build(self) -> Worker[Job, object]:
        slot, plan = self.slot, self.world.plan

        async def listen(event: object) -> None:
            with self.world.checking():
                self.watch.told(self, event)

        builder = WorkerBuilder(self.process.name).backend(self.link).on_event(listen)
        builder = builder.configure(
            lease=LEASE,
            batch=slot.batch,
            concurrency=slot.concurrency,
            grace=slot.grace,
            cancel_grace=slot.cancel_grace,
        )
        if plan.retries is not None:
            wait = tenacity.wait_fixed(plan.retry_wait)
            builder = builder.layer(RetryLayer(plan.retries, wait=wait))
        if slot.limited:
            builder = builder.layer(ConcurrencyLimitLayer(slot.concurrency))
        if slot.timeout is not None:
            builder = builder.layer(TimeoutLayer(slot.timeout))
        if slot.deadline is not None:
            builder = builder.deadline(slot.deadline)
        return builder.build(handlers(self))

    async def run(self) -> None:
        """Work until drained, killed or ended by a handler; check how long the end takes."""
        token = PROCESS.set(self.process)
        self.world.note(self.process.name, "starts")
        try:
            with self._scope, self.link.listening():
                await self.worker.run()
            if self._stopped_at is None:
                self.world.broken(f"{self.process.name} ended though nobody told it to")
        except (BackendError, OSError, SystemExit) as error:
            self.world.note(self.process.name, "raises", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a finding
            self.world.broken(f"{self.process.name} raised {error!r}")
        finally:
            PROCESS.reset(token)
            self.world.note(self.process.name, "ends")
            self._check_end()
            self.world.calm.look()

    def _check_end(self) -> None:
        if self._stopped_at is None:
            return
        still = self.process.stood_still - self._stood_still
        took = trio.current_time() - self._stopped_at - still
        phases = 4 * max(0.1, self.slot.cancel_grace)
        if took > self.slot.grace + phases + STUBBORN + SLACK:
            self.world.broken(f"{self.process.name} took {took:.3f} s to end")

    def _stopping(self) -> None:
        if self._stopped_at is None:
            self._stopped_at = trio.current_time()
            self._stood_still = self.process.stood_still

    def kill(self) -> None:
        """End it as SIGKILL does, as far as others can see: nothing more reaches the store."""
        self.process.severed = True
        self.process.thaw()
        self._stopping()
        self._scope.cancel()

    def drain(self) -> None:
        """Tell it to end."""
        with suppress(WrongState):
            self.worker.context.stop()
            self._stopping()

    def pause(self) -> None:
        """Have it claim nothing."""
        with suppress(WrongState):
            self.worker.context.pause()

    def resume(self) -> None:
        """Have it claim again."""
        with suppress(WrongState):
            self.worker.context.resume()

    @property
    def is_alive(self) -> bool:
        """Whether it runs and reaches the store."""
        stopped = self.worker.state in {State.PENDING, State.STOPPED}
        return not (stopped or self.process.frozen or self.process.severed)

    @property
    def has_room(self) -> bool:
        """Whether it could start another task now."""
        if self.worker.state is not State.RUNNING or not self.is_alive:
            return False
        return sum(map(self._is_busy_with, self.link.leases)) < self.slot.concurrency

    def _is_busy_with(self, fence: Fence) -> bool:
        return self.world.ledger.holds(fence) or fence in self.watch.active
