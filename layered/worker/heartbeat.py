"""The heartbeat: tells the store that this worker lives, and what it is made of."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

import anyio

from layered.backend import About, Backend, Beat, Sees
from layered.worker.events import BackendTroubled, Bus
from layered.worker.explain import stack_of
from layered.worker.plan import Plan

log = logging.getLogger("layered.worker")


def about(plan: Plan) -> About:
    """Tell what a worker that starts now is made of."""
    return About(
        name=plan.name,
        tasks=sorted(plan.handler.names),
        stack=stack_of(plan),
        concurrency=plan.concurrency,
        started_at=datetime.now(UTC),
    )


class Heart:
    """
    Beats as long as a shift lasts; nothing depends on it.

    Args:
        backend: The store; one that keeps no workers (`Sees`) is left alone.
        beat: Makes a beat of what there is now.
        bus: Is told when the store cannot take one.
    """

    __slots__ = ("_backend", "_beat", "_bus", "_left", "_scope")

    def __init__(self, backend: Backend, beat: Callable[[], Beat], bus: Bus) -> None:
        self._backend = backend
        self._beat = beat
        self._bus = bus
        self._scope = anyio.CancelScope()
        self._left = anyio.Event()

    async def run(self) -> None:
        """Beat until told to leave; then have the store forget this worker."""
        backend = self._backend
        if isinstance(backend, Sees):
            with self._scope:
                while True:
                    beat = self._beat()
                    await self._try(partial(backend.beat, beat), beat.every)
                    await anyio.sleep(beat.every * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load
            await self._try(partial(backend.leave, self._beat().owner), 0.0)
        self._left.set()

    async def leave(self) -> None:
        """End, after the beat that is on its way: it must not come after the leaving."""
        self._scope.cancel()
        await self._left.wait()

    async def _try(self, write: Callable[[], Awaitable[None]], delay: float) -> None:
        try:
            await write()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises is waited out
            log.warning("telling the store of this worker failed: %s", error)
            self._bus.emit(BackendTroubled("heartbeat", error, delay))
