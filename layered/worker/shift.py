"""A shift: one run of a worker, from its first claim to its last settle."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import uuid4

import anyio
import attrs
from anyio.abc import TaskGroup

from layered.backend import Beat, Claimant
from layered.service.clock import loop_clock
from layered.task import CancelReason
from layered.worker import stuck
from layered.worker.children import Children
from layered.worker.events import Bus, StateChanged
from layered.worker.fetcher import Fetcher, Until
from layered.worker.flight import Flight
from layered.worker.heartbeat import Heart, about
from layered.worker.housekeeping import Housekeeper
from layered.worker.keeper import Keeper
from layered.worker.plan import Plan
from layered.worker.pool import Job, Pool
from layered.worker.settle import Settler
from layered.worker.states import Machine, State
from layered.worker.ticker import Ticker

log = logging.getLogger("layered.worker")

THEIRS = (Exception, SystemExit, KeyboardInterrupt)
"""What code of a user may raise; cancellation is ours."""

LEAST_GRACE = 0.1
"""Seconds that every phase of a drain has, however short `cancel_grace` is."""


class Shift:
    """
    Puts the parts of a running worker together, and takes them down in order.

    Everything here runs shielded from the outside: a cancellation of
    `Worker.run` becomes a drain without grace, so that what was claimed is
    settled or given back. Every phase of it is limited in time.

    Args:
        plan: What was built.
        until: When to end without being told.
        owns_process: Whether a handler that will not end may end the process.
    """

    def __init__(self, plan: Plan, until: Until, *, owns_process: bool = False) -> None:
        self._plan = plan
        self._until = until
        self._owns_process = owns_process
        self.thread = threading.get_ident()
        settings, backend = plan.settings, plan.backend
        self.name = plan.name
        self.owner = f"{plan.name}/{socket.gethostname()}/{os.getpid()}/{uuid4().hex}"
        self.backend = backend
        self.bus = Bus(plan.listeners)
        self.machine = Machine(plan.name, self._changed)
        self.flight = Flight(max(64, 2 * plan.concurrency))
        self._keeper = Keeper(backend, self.flight, settings.lease, self.bus)
        clock = loop_clock()
        step = min(settings.lease / 6, plan.deadline or settings.lease)
        self._ticker = Ticker(self.flight, clock, self._keeper.clock, step)
        self._settler = Settler(backend, self.flight, self.bus, self._keeper.clock, self._landed)
        job = Job(
            plan.service,
            {kind.name: kind for kind in backend.kinds},
            plan.deadline,
            plan.concurrency,
            backend.limits.result,
        )
        self._pool = Pool(job, self, self.flight, self._settler, self._ticker, self.bus)
        self._pool.fatal = self.bus.fatal = fatal = partial(self.fail, hurry=True)
        self.children = Children(plan.name, fatal)
        max_run = None if plan.deadline is None else plan.deadline + settings.lease
        claimant = Claimant(backend.queue, self.owner, settings.lease, max_run)
        self._fetcher = Fetcher(
            backend, claimant, plan.handler.capacities, plan.service, settings.batch
        )
        self._heart = Heart(backend, self._beat, self.bus)
        self._about = about(plan)
        self._starting = anyio.CancelScope(shield=True)
        self._cancel_grace = max(LEAST_GRACE, settings.cancel_grace)
        self._grace = anyio.CancelScope()
        self._error: BaseException | None = None
        self._ended = anyio.Event()

    def _changed(self, state: State) -> None:
        log.info("worker %s: %s", self.name, state.value)
        self.bus.emit(StateChanged(self.name, state))

    def _beat(self) -> Beat:
        """Tell of this worker; it counts as dead when its leases have ended, too."""
        told = attrs.evolve(self._about, in_flight=len(self.flight), state=self.machine.state.value)
        every = self._plan.settings.lease / 3
        return Beat(self.owner, self.backend.queue, told.encoded(), every)

    def _landed(self) -> None:
        ended = self._until is not Until.STOPPED and not len(self.flight)
        if ended or self._fetcher.held_back:  # a name may have capacity again
            self._fetcher.poll.hint()

    def stop(self) -> None:
        """Begin a drain; repeating it does nothing."""
        if self.machine.state is State.PENDING:
            self._starting.cancel()  # the store or a dependency may never answer
        if self.machine.state in {State.PENDING, State.RUNNING, State.PAUSED}:
            self.machine.move("stop")
            self._fetcher.stop()
            self._pool.close()

    def hurry(self) -> None:
        """Begin a drain, or end the grace of one that goes on: cancel what runs."""
        self.stop()
        self._grace.cancel()

    def fail(self, error: BaseException, *, hurry: bool = False) -> None:
        """End because of *error*, which `Worker.run` raises when all is settled."""
        if self._error is None:
            self._error = error
        if hurry:
            self.hurry()
        else:
            self.stop()

    async def run(self) -> None:
        """
        Work until told to stop, or until the work is done.

        Raises:
            Exception: what ended the worker, if something did.
        """
        try:
            async with anyio.create_task_group() as outside:
                outside.start_soon(self._shielded)
                try:
                    await self._ended.wait()
                except anyio.get_cancelled_exc_class():
                    self.hurry()
                    raise
                except BaseException as error:  # noqa: BLE001 - Ctrl-C on trio; raised below
                    self.fail(error, hurry=True)
        finally:
            failure, self._error = self._error, None
            if failure is not None:
                raise failure

    async def _shielded(self) -> None:
        try:
            with self._starting:
                await self.backend.check()
                async with anyio.create_task_group() as beside:
                    await self._work_opened(beside)
        except BaseException as error:  # noqa: BLE001 - `run` raises it, when all is settled
            self.fail(error)
        finally:
            if self.machine.state is State.DRAINING:  # it failed before or amid the work
                self.machine.move("ended")
            self._ended.set()

    async def _work_opened(self, beside: TaskGroup) -> None:
        try:
            async with self._plan.handler.opened():
                await self._work_in(beside)
        except THEIRS as error:  # raised by `run`, in no group
            self.fail(error)

    async def _work_in(self, beside: TaskGroup) -> None:
        """
        Work in a task of *beside*, out of reach of what holds the dependencies open.

        A dependency with a task group of its own that fails cancels who holds
        it, and may not take the settling of tasks with it.
        """
        if self.machine.state is not State.PENDING:  # stopped meanwhile
            return
        self.machine.move("run")
        worked = anyio.Event()
        beside.start_soon(self._work, worked)
        try:
            await worked.wait()
        except anyio.get_cancelled_exc_class():
            self.hurry()
            with anyio.CancelScope(shield=True):
                await worked.wait()
            raise

    async def _work(self, worked: anyio.Event) -> None:
        try:
            await self._with_services()
        finally:
            worked.set()

    async def _with_services(self) -> None:
        async with anyio.create_task_group() as services:
            services.start_soon(self._settler.run)
            services.start_soon(self._keeper.run)
            services.start_soon(self._ticker.run)
            services.start_soon(self.bus.run)
            services.start_soon(self._heart.run)
            async with anyio.create_task_group() as crew:
                self._pool.start(crew)
                async with anyio.create_task_group() as children:
                    self.children.start(children)
                    await self._until_drained(crew)
                self.children.start(None)
            await self._finish(services)

    async def _until_drained(self, crew: TaskGroup) -> None:
        names = self._plan.handler.names
        lease = self._plan.settings.lease
        housekeeper = Housekeeper(self.backend, self._keeper, names, self.backend.queue, lease)
        house = anyio.CancelScope()
        crew.start_soon(_in_scope, house, housekeeper.run, self.bus)
        fetched = anyio.Event()
        crew.start_soon(self._fetch, fetched)
        await self.machine.reach(State.DRAINING)
        house.cancel()
        await self._drain(fetched)

    async def _fetch(self, fetched: anyio.Event) -> None:
        try:
            await self._fetcher.run(
                self._pool, self.flight, self._keeper, self.machine, self.bus, self._until
            )
        except THEIRS as error:
            log.exception("worker %s cannot go on", self.name)
            self.fail(error, hurry=not isinstance(error, Exception))
        finally:
            fetched.set()
            self.stop()

    async def _drain(self, fetched: anyio.Event) -> None:
        """Go on after `stop`: the last claim → grace → cancel → wait for the cancelled."""
        with anyio.move_on_after(self._cancel_grace):
            await fetched.wait()
        self._fetcher.abandon()
        with self._grace:
            with anyio.move_on_after(self._plan.settings.grace):
                await self._quiet()
        self._pool.cancel(CancelReason.DRAIN)
        self.children.cancel()
        with anyio.move_on_after(self._cancel_grace, shield=True):
            await self._quiet()
        if self._pool.active or self.children.running:
            await self._give_up_on_stuck()

    async def _quiet(self) -> None:
        await self._pool.idle()
        await self.children.quiet()

    async def _give_up_on_stuck(self) -> None:
        """Give back the tasks of handlers that swallow cancellation; end the process if ours."""
        stuck.report(self.name, self._pool.give_up(), self.children.running)
        if self._owns_process:
            with anyio.move_on_after(self._cancel_grace, shield=True):
                await self.flight.empty()
            stuck.end_process()

    async def _finish(self, services: TaskGroup) -> None:
        """Flush settles, leave → stop the keeper → hand over the last events; each limited."""
        self._settler.close()
        with anyio.move_on_after(self._cancel_grace):
            await self.flight.empty()
            await self._heart.leave()
        if len(self.flight):
            log.error("worker %s: %d tasks could not be settled", self.name, len(self.flight))
        self._keeper.stop()
        self.machine.move("ended")
        self.bus.close()
        with anyio.move_on_after(self._cancel_grace):
            await self.bus.closed.wait()
        services.cancel_scope.cancel()


async def _in_scope(
    scope: anyio.CancelScope, work: Callable[[Bus], Awaitable[None]], bus: Bus
) -> None:
    with scope:
        await work(bus)
