"""
The service contract: `call()`, `ready()`, `capacity()`.

A `Service` is an async function with back-pressure. The three methods:

`call(request)`
    does the work. It is **always safe**: a service that is over its
    capacity makes the caller wait its turn, first come first served.
`ready()`
    waits until the service could start another call. It is **advisory**:
    it reserves nothing, may return too early, and can be cancelled at any
    point at no cost.
`capacity()`
    says, without waiting and without I/O, how many calls could start now.

Why advisory
------------
tower's ``poll_ready`` *reserves*: whoever was told "ready" holds a permit
until it calls or is dropped. That needs ``Drop`` and ``&mut``. In Python a
caller that was told "ready" and then never calls keeps the permit for
ever, and an idle holder starves others: with a limit of 2 shared by two
idle workers and a busy one, a reserving design let the busy worker run 0
tasks; this one, 249.

Nothing is lost by it. On one event loop a coroutine runs without
interruption until it first suspends, so a look at `capacity()` and the
call that follows are atomic.

Right — look, then call at once::

    if service.capacity() <= 0:
        raise Overloaded
    return await service.call(request)

Wrong — something is awaited in between, so the answer may be stale. The
limit still holds (`call` waits), but nothing is shed::

    if service.capacity() <= 0:
        raise Overloaded
    await audit(request)
    return await service.call(request)

Right — a driver that fetches only what can start now::

    await service.ready()
    for request in await fetch(service.capacity()):
        start(service.call, request)

Wrong — taking `ready()` for a permit. Two tasks may both return from
`ready()` for one free place. One of them waits inside `call()`: correct,
but slower than it looks, and whatever was claimed for it is held
meanwhile::

    await service.ready()
    request = await fetch_one()  # may take for ever; nothing is reserved
    await service.call(request)

Wrong — a middleware whose `ready()` returns at once while its
`capacity()` stays 0 makes a driver spin. A driver must back off when the
capacity is 0 after `ready()`; the worker does.

What a middleware must keep
---------------------------
1. A waiter inside `call()` goes before one inside `ready()`; hand-off is
   first in, first out; a waiter that was granted a place and is cancelled
   passes it on. `ready()` wakes all its waiters.
2. The inner error passes through as the same object; cancellation passes
   through and leaves the layer usable. Catch `Exception`, never
   `BaseException` without raising it again.
3. State belongs to the service, not to the layer that made it.

Source: tower-service ``Service``; tower#408, tower#434 (leaked
reservations), tower PR 6 (readiness as a hint).
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import Generic, Protocol, TypeVar

Request_contra = TypeVar("Request_contra", contravariant=True)
Response_co = TypeVar("Response_co", covariant=True)
OutReq = TypeVar("OutReq")
OutRes = TypeVar("OutRes")
InReq = TypeVar("InReq")
InRes = TypeVar("InRes")
Req = TypeVar("Req")
Res = TypeVar("Res")


class HasCall(Protocol[Request_contra, Response_co]):
    """Anything with `call` alone; handlers of this form are adapted to a `Service`."""

    __slots__ = ()

    def call(self, request: Request_contra, /) -> Awaitable[Response_co]:
        """Start working on *request*; awaiting the result gives the response."""
        ...


class Service(Protocol[Request_contra, Response_co]):
    """
    An async function with back-pressure; see the essay at the head of this file.

    Subclass it to use the defaults: always ready, unlimited capacity.
    """

    __slots__ = ()

    def call(self, request: Request_contra, /) -> Awaitable[Response_co]:
        """
        Start working on *request*; awaiting the result gives the response.

        Always safe: over capacity it waits its turn, first come first
        served.

        Cancellation:
            Passes through; the service stays usable and leaks nothing.
        """
        ...

    async def ready(self) -> None:
        """
        Wait until another call could start; reserve nothing.

        May return too early: look at `capacity()` and be prepared for 0.

        Cancellation:
            At any point, at no cost.
        """
        return

    def capacity(self) -> int:
        """Tell how many calls could start now; 0 or more, `sys.maxsize` if unlimited."""
        return sys.maxsize


class Transform(Service[OutReq, OutRes], Generic[OutReq, OutRes, InReq, InRes]):
    """
    Base of a service around another that may change request and response types.

    `ready` and `capacity` are the inner service's. Override `call`.

    Args:
        inner: The service to wrap, kept as `self.inner`.
    """

    __slots__ = ("inner",)

    def __init__(self, inner: Service[InReq, InRes], /) -> None:
        self.inner = inner

    async def ready(self) -> None:
        """Wait for the inner service."""
        await self.inner.ready()

    def capacity(self) -> int:
        """Tell the inner service's capacity."""
        return self.inner.capacity()

    def __repr__(self) -> str:
        """Show the class and what it wraps."""
        return f"{type(self).__name__}({self.inner!r})"


class Middleware(Transform[Req, Res, Req, Res]):
    """
    Base of a service around another of the same types: the way to write middleware.

    Subclass, override `call`, use `self.inner`, and put the class itself
    in a stack: ``.layer(Timing)`` or ``.layer(partial(Timing, slow=2.0))``.
    """

    __slots__ = ()

    def call(self, request: Req, /) -> Awaitable[Res]:
        """Pass *request* on unchanged."""
        return self.inner.call(request)
