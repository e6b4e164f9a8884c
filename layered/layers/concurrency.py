"""
`ConcurrencyLimitLayer`: at most so many calls at once.

The limit reaches the fetch: a worker claims no more than `capacity()`.
Surplus callers wait inside `call`, first come first served.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

import anyio
import attrs

from layered.errors import BuildError, WrongState
from layered.service import Middleware, Service
from layered.service.clock import loop_token

Req = TypeVar("Req")
Res = TypeVar("Res")


def _is_number(limit: object) -> bool:
    return isinstance(limit, int)


class Permits:
    """
    A number of places that calls take and give back; share it to share a limit.

    Rule 1: while somebody waits in `acquire`, `free` is 0: a place that
    comes free is handed to the first in the queue, past everybody else.
    Rule 2: who was handed a place and is cancelled passes it on.
    Rule 3: `available` reserves nothing, so a free place wakes *all* that
    wait there. Waking one would lose the place if that one went away.

    For services of one event loop at a time, in one thread.

    Args:
        limit: Number of places; 1 or more.

    Raises:
        BuildError: if *limit* is less than 1.

    Source: the rules are those of tower's semaphore without its
    reservation; see `layered.service.contract`.
    """

    __slots__ = ("_available", "_loop", "_queue", "free", "limit")

    def __init__(self, limit: int) -> None:
        if not _is_number(limit) or limit < 1:
            raise BuildError("Permits", [f"the limit must be 1 or more, got {limit!r}"])
        self.limit = limit
        self.free = limit
        """Places that can be taken now; read-only for others."""
        self._queue: OrderedDict[anyio.Event, None] = OrderedDict()
        self._available: anyio.Event | None = None
        self._loop: object = None

    @property
    def waiting(self) -> int:
        """Number of callers that wait in `acquire`."""
        return len(self._queue)

    async def acquire(self) -> None:
        """
        Take a place; wait for one, first come first served.

        Raises:
            WrongState: if others wait for a place on another event loop.

        Cancellation:
            At any point; no place is taken then.
        """
        if self.free > 0:
            self.free -= 1
            return
        self._check_loop()
        turn = anyio.Event()
        self._queue[turn] = None
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.release()
            else:
                del self._queue[turn]
            raise

    def release(self) -> None:
        """
        Give a place back; to the first in the queue, if there is one.

        Raises:
            WrongState: if no place is taken.
        """
        if self._queue:
            turn, _ = self._queue.popitem(last=False)
            turn.set()
            return
        if self.free >= self.limit:
            msg = f"releasing a place of {self!r}: none is taken; release once for each acquire"
            raise WrongState(msg)
        self.free += 1
        if self._available is not None:
            self._available.set()
            self._available = None

    async def available(self) -> None:
        """
        Wait until a place is free; it is not reserved.

        Raises:
            WrongState: if others wait for a place on another event loop.

        Cancellation:
            At any point, at no cost.
        """
        while self.free <= 0:
            self._check_loop()
            if self._available is None:
                self._available = anyio.Event()
            await self._available.wait()

    def _check_loop(self) -> None:
        # An event set from another loop's thread wakes nobody: without this it would be a hang.
        loop = loop_token()
        if loop is not self._loop and (self._queue or self._available):
            msg = f"waiting for a place of {self!r}: others wait on another loop; use one for each"
            raise WrongState(msg)
        self._loop = loop

    def __repr__(self) -> str:
        """Show how many places are free and how many callers wait."""
        return f"<Permits {self.free} of {self.limit} free, {self.waiting} waiting>"


class ConcurrencyLimit(Middleware[Req, Res]):
    """Holds a place of its `Permits` during each call; made by `ConcurrencyLimitLayer`."""

    __slots__ = ("permits",)

    def __init__(self, permits: Permits, inner: Service[Req, Res], /) -> None:
        super().__init__(inner)
        self.permits = permits

    async def call(self, request: Req, /) -> Res:
        """
        Take a place, call the inner service, give the place back.

        Cancellation:
            Gives up the turn or the place, whatever it has.
        """
        permits = self.permits
        if permits.free > 0:
            permits.free -= 1
        else:
            await permits.acquire()
        try:
            return await self.inner.call(request)
        finally:
            permits.release()

    async def ready(self) -> None:
        """Wait until a place is free and the inner service is ready."""
        while True:
            await self.permits.available()
            await self.inner.ready()
            if self.permits.free > 0:
                return

    def capacity(self) -> int:
        """Tell the free places, or the inner service's capacity if that is less."""
        return min(self.permits.free, self.inner.capacity())

    def __repr__(self) -> str:
        """Show permits and inner service."""
        return f"ConcurrencyLimit({self.permits!r}, {self.inner!r})"


def _checked(limit: int | Permits) -> int | Permits:
    return limit if isinstance(limit, Permits) else Permits(limit).limit


@attrs.frozen
class ConcurrencyLimitLayer:
    """
    Let at most so many calls run at once.

    Args:
        limit: The number, 1 or more, for each service made; or a `Permits`
            to share between services, also of several workers.

    Raises:
        BuildError: if *limit* is less than 1.

    Source: tower ``ConcurrencyLimitLayer``, ``GlobalConcurrencyLimitLayer``.
    """

    limit: int | Permits = attrs.field(converter=_checked)

    @property
    def most(self) -> int:
        """The number."""
        return self.limit.limit if isinstance(self.limit, Permits) else self.limit

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        """Put a `ConcurrencyLimit` around *inner*."""
        limit = self.limit
        return ConcurrencyLimit(limit if isinstance(limit, Permits) else Permits(limit), inner)
