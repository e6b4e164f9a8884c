"""
`MockService`: a service that a test plays, call by call.

The test holds the handle. It sees each request, and says when and how it is
answered, so a layer can be tested against an inner service that is slow,
full, failing or gone, without a clock and without a sleep::

    service, handle = MockService[str, int].pair()
    limited = ConcurrencyLimitLayer(1).layer(service)

    async with anyio.create_task_group() as group:
        group.start_soon(limited.call, "first")
        call = await handle.next_request()
        assert call.request == "first"
        assert limited.capacity() == 0
        call.send_response(1)

Source: tower-test ``mock``. What differs follows from the contract: `ready`
reserves nothing, and a call without `ready`, or over what is allowed, waits
its turn where tower's panics. Python has no `Drop`, so the handle is closed
by `MockHandle.close`, and it cannot notice that nobody holds the service any
more.
"""

from __future__ import annotations

import sys
from typing import Generic, TypeVar

import anyio
import attrs

from layered.errors import LayeredError, WrongState
from layered.service import Service
from layered.testing.turns import Turns

Req = TypeVar("Req")
Res = TypeVar("Res")


class MockClosed(LayeredError):
    """The handle of a mock service was closed by the test: nobody answers any more."""

    def __str__(self) -> str:
        """Say who did it."""
        return "the mock service is closed: the test called MockHandle.close()"


@attrs.define(eq=False)
class _Answer(Generic[Res]):
    """What becomes of one call: between its caller, who waits, and the test."""

    sent: anyio.Event = attrs.field(factory=anyio.Event)
    response: list[Res] = attrs.field(factory=list)
    error: Exception | None = None
    gone: bool = False

    def fail(self, error: Exception) -> None:
        self.error = error
        self.sent.set()

    async def wait(self) -> Res:
        await self.sent.wait()
        if self.error is not None:
            raise self.error
        return self.response[0]


class MockCall(Generic[Req, Res]):
    """
    One call of a mock service that has begun, and the way to answer it.

    Given by `MockHandle.next_request`.

    Args:
        request: What the service was called with.
        answer: Where the caller waits.
    """

    __slots__ = ("_answer", "request")

    def __init__(self, request: Req, answer: _Answer[Res], /) -> None:
        self.request = request
        self._answer = answer

    @property
    def cancelled(self) -> bool:
        """Whether the caller went away before it was answered."""
        return self._answer.gone

    def send_response(self, response: Res, /) -> None:
        """
        Let the call answer *response*; without effect if the caller has gone.

        Raises:
            WrongState: if the call was answered before.
        """
        self._check_open()
        self._answer.response.append(response)
        self._answer.sent.set()

    def send_error(self, error: Exception, /) -> None:
        """
        Let the call raise *error*, this object; without effect if the caller has gone.

        Raises:
            WrongState: if the call was answered before.
        """
        self._check_open()
        self._answer.fail(error)

    def _check_open(self) -> None:
        if self._answer.sent.is_set():
            msg = f"answering {self!r}: it was answered before; a call has one answer"
            raise WrongState(msg)

    def __repr__(self) -> str:
        """Show the request."""
        return f"MockCall({self.request!r})"


@attrs.define(eq=False)
class _State(Generic[Req, Res]):
    """What a mock service and its handle share."""

    turns: Turns[MockCall[Req, Res]] = attrs.field(factory=Turns)
    closed: bool = False
    ready_error: Exception | None = None
    open: set[_Answer[Res]] = attrs.field(factory=set)

    def check_open(self) -> None:
        if self.closed:
            raise MockClosed


class MockService(Service[Req, Res]):
    """
    A service whose calls a test answers; made by `pair`, with its handle.

    It keeps the contract: `capacity` is what `MockHandle.allow` has left,
    unlimited at first; `ready` waits until that is more than 0; a call
    beyond it waits its turn, first come first served.
    """

    __slots__ = ("_state",)

    def __init__(self, state: _State[Req, Res], /) -> None:
        self._state = state

    @classmethod
    def pair(cls) -> tuple[MockService[Req, Res], MockHandle[Req, Res]]:
        """
        Make a service and its handle.

        Checkers want the types: ``MockService[str, int].pair()``.
        """
        state = _State[Req, Res]()
        return cls(state), MockHandle(state)

    async def call(self, request: Req, /) -> Res:
        """
        Wait for a turn, hand *request* to the test, and wait for its answer.

        Raises:
            MockClosed: if the handle is closed, now or while it waits.
            Exception: what the test sent with `MockCall.send_error`.

        Cancellation:
            At any point. Before its turn, the test never sees the call;
            after it, `MockCall.cancelled` tells.
        """
        state = self._state
        state.check_open()
        answer = _Answer[Res]()
        state.open.add(answer)
        try:
            await state.turns.begin(MockCall(request, answer))
            return await answer.wait()
        except BaseException:
            answer.gone = not answer.sent.is_set()
            raise
        finally:
            state.open.remove(answer)

    async def ready(self) -> None:
        """
        Wait until a call is allowed; reserve nothing.

        Raises:
            MockClosed: if the handle is closed, now or while it waits.
            Exception: what the test sent with `MockHandle.send_ready_error`.

        Cancellation:
            At any point, at no cost.
        """
        state = self._state
        while True:
            state.check_open()
            if state.ready_error is not None:
                error, state.ready_error = state.ready_error, None
                raise error
            if state.turns.left > 0:
                return
            await state.turns.changed()

    def capacity(self) -> int:
        """Tell how many calls are still allowed."""
        return self._state.turns.left

    def __repr__(self) -> str:
        """Show what is allowed."""
        allowed = self._state.turns.left
        return f"MockService({'unlimited' if allowed == sys.maxsize else f'{allowed} allowed'})"


class MockHandle(Generic[Req, Res]):
    """The test's side of a `MockService`; made by `MockService.pair`."""

    __slots__ = ("_state",)

    def __init__(self, state: _State[Req, Res], /) -> None:
        self._state = state

    def allow(self, number: int, /) -> None:
        """
        Let *number* more calls begin; those that wait already count among them.

        It sets what is allowed, and adds nothing to what was left. Without
        it everything is, as a mock that only answers needs no allowing;
        `sys.maxsize` makes it so again.

        Raises:
            ValueError: if *number* is less than 0.
        """
        if number < 0:
            msg = f"allowing {number!r} calls: it must be 0 or more"
            raise ValueError(msg)
        self._state.turns.allow(number)

    async def next_request(self) -> MockCall[Req, Res]:
        """
        Wait for the next call to begin, and take it; each is given once, in their order.

        A call that was cancelled since it began is given as well.

        Raises:
            MockClosed: if the handle is closed, now or while it waits.

        Cancellation:
            At any point; no call is taken then.
        """
        state = self._state
        while True:
            state.check_open()
            if state.turns.begun:
                return state.turns.begun.popleft()
            await state.turns.changed()

    @property
    def pending(self) -> int:
        """How many calls have begun and were not taken by `next_request`."""
        return len(self._state.turns.begun)

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn, as no more are allowed."""
        return self._state.turns.waiting

    def send_ready_error(self, error: Exception, /) -> None:
        """Let one `ready`, a waiting one or the next, raise *error*; calls go on as before."""
        self._state.ready_error = error
        self._state.turns.tell()

    def close(self) -> None:
        """
        Break the service for good: `MockClosed` for whoever waits, calls or asks.

        Calls that have begun and were not answered get it too; what a test
        answered before is delivered.
        """
        state = self._state
        state.closed = True
        state.turns.allow(sys.maxsize)
        for answer in state.open:
            if not answer.sent.is_set():
                answer.fail(MockClosed())
