"""Layers with one fault each, by the rule of the suite that finds it."""

from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from layered import Middleware, Outcome, Permits, Service
from layered.layers.concurrency import ConcurrencyLimit
from layered.service.layer import LayerLike

SEEN: ContextVar[object] = ContextVar("SEEN")


class UsesTasks(Middleware[Any, Any]):
    """Needs tasks and does not declare it."""

    async def call(self, request: Any, /) -> Any:
        return await self.inner.call(request.replace(request.args))


class LosesTheResponse(Middleware[Any, Any]):
    """Forgets a ``return``."""

    async def call(self, request: Any, /) -> Any:
        await self.inner.call(request)


class ChangesTheRequest(Middleware[Any, Any]):
    """Passes something else on."""

    async def call(self, request: Any, /) -> Any:
        return await self.inner.call([request])


class WrapsErrors(Middleware[Any, Any]):
    """Makes another error of each."""

    async def call(self, request: Any, /) -> Any:
        try:
            return await self.inner.call(request)
        except Outcome:
            raise
        except Exception as error:
            raise RuntimeError("the call failed") from error


class AnswersOutcomes(Middleware[Any, Any]):
    """Takes an outcome for a result."""

    async def call(self, request: Any, /) -> Any:
        try:
            return await self.inner.call(request)
        except Outcome as outcome:
            return outcome


class WrapsBaseExceptions(Middleware[Any, Any]):
    """Makes an error of what is none."""

    async def call(self, request: Any, /) -> Any:
        try:
            return await self.inner.call(request)
        except (Exception, anyio.get_cancelled_exc_class()):
            raise
        except BaseException as error:
            raise RuntimeError("the call failed") from error


class MixesResponses(Middleware[Any, Any]):
    """Keeps the state of a call where all calls share it."""

    async def call(self, request: Any, /) -> Any:
        self.response = await self.inner.call(request)
        await checkpoint()
        return self.response


class LeaksContext(Middleware[Any, Any]):
    """Sets a context variable and does not reset it."""

    async def call(self, request: Any, /) -> Any:
        SEEN.set(request)
        return await self.inner.call(request)


class SwallowsCancellation(Middleware[Any, Any]):
    """Answers a call that was cancelled."""

    async def call(self, request: Any, /) -> Any:
        try:
            return await self.inner.call(request)
        except anyio.get_cancelled_exc_class():
            return None


class SwallowsCancellationInReady(Middleware[Any, Any]):
    """Is ready when it is cancelled."""

    async def ready(self) -> None:
        with suppress(anyio.get_cancelled_exc_class()):
            await self.inner.ready()


class LeaksBetween(ConcurrencyLimit[Any, Any]):
    """Can be cancelled between taking a place and the block that gives it back."""

    async def call(self, request: Any, /) -> Any:
        await self.permits.acquire()
        await checkpoint()
        try:
            return await self.inner.call(request)
        finally:
            self.permits.release()


class LeaksOnErrors(ConcurrencyLimit[Any, Any]):
    """Gives the place back unless the call fails."""

    async def call(self, request: Any, /) -> Any:
        await self.permits.acquire()
        try:
            response = await self.inner.call(request)
        except Exception:
            raise
        except BaseException:
            self.permits.release()
            raise
        self.permits.release()
        return response


class NeverHasRoom(Middleware[Any, Any]):
    """Never says that a call could start."""

    def capacity(self) -> int:
        return 0


class SaysItsLimit(ConcurrencyLimit[Any, Any]):
    """Says its limit as its capacity, whatever runs."""

    def capacity(self) -> int:
        return min(self.permits.limit, self.inner.capacity())


class CountsWaiters(ConcurrencyLimit[Any, Any]):
    """Takes waiters off its capacity."""

    def capacity(self) -> int:
        return min(self.permits.free, self.inner.capacity()) - self.permits.waiting


class ForgetsTheInnerCapacity(ConcurrencyLimit[Any, Any]):
    """Says its own free places only."""

    def capacity(self) -> int:
        return self.permits.free


class IsReadyBeforeTheInnerService(ConcurrencyLimit[Any, Any]):
    """Waits for its own places only."""

    async def ready(self) -> None:
        await self.permits.available()


class SuppressesErrorsOfReady(Middleware[Any, Any]):
    """Is ready when the inner service says that it is not."""

    async def ready(self) -> None:
        with suppress(Exception):
            await self.inner.ready()


class IsReadyWhileFull(ConcurrencyLimit[Any, Any]):
    """Waits for the inner service only."""

    async def ready(self) -> None:
        await self.inner.ready()


class ReservesInReady(ConcurrencyLimit[Any, Any]):
    """Takes the place when it is asked for one, as tower's services do."""

    reserved = 0

    async def ready(self) -> None:
        await self.inner.ready()
        await self.permits.acquire()
        self.reserved += 1

    async def call(self, request: Any, /) -> Any:
        if self.reserved:
            self.reserved -= 1
        else:
            await self.permits.acquire()
        try:
            return await self.inner.call(request)
        finally:
            self.permits.release()


class ForgetfulOfTheCancelled(Permits):
    """Leaves a waiter that was cancelled in the queue, to be given a place."""

    async def acquire(self) -> None:
        if self.free > 0:
            self.free -= 1
            return
        turn = anyio.Event()
        self._queue[turn] = None
        await turn.wait()


class KeepsTheTurnOfTheCancelled(Permits):
    """Gives a turn that came too late to nobody."""

    async def acquire(self) -> None:
        if self.free > 0:
            self.free -= 1
            return
        turn = anyio.Event()
        self._queue[turn] = None
        try:
            await turn.wait()
        except BaseException:
            self._queue.pop(turn, None)
            raise


class WakesOne(Permits):
    """Wakes the last of those that ask."""

    async def available(self) -> None:
        while self.free <= 0:
            self._available = anyio.Event()  # forgets who asked before
            await self._available.wait()


class LastInFirstOut(Permits):
    """Serves who came last."""

    def release(self) -> None:
        if self._queue:
            turn, _ = self._queue.popitem(last=True)
            turn.set()
            return
        super().release()


class ServesAskersFirst(Permits):
    """Has calls wait like those that only ask, and look again a turn later than they."""

    async def acquire(self) -> None:
        while self.free <= 0:
            await self.available()
            await checkpoint()
        self.free -= 1


class Hidden(Middleware[Any, Any]):
    """Shows nothing of itself."""

    __repr__ = object.__repr__


class NamesItsRequestType(Middleware[Any, Any]):
    """Declares a name where a stack wants a class."""

    request_type = "Task"


def limited(
    service: type[ConcurrencyLimit[Any, Any]] = ConcurrencyLimit, permits: type[Permits] = Permits
) -> LayerLike:
    """Make a layer that limits to two calls at once, of parts of which one is wrong."""

    def layer(inner: Service[Any, Any], /) -> Service[Any, Any]:
        return service(permits(2), inner)

    return layer


WRONG: dict[str, LayerLike] = {
    "takes requests of the type that it declares": UsesTasks,
    "answers with the inner response": LosesTheResponse,
    "passes the request on": ChangesTheRequest,
    "passes errors on": WrapsErrors,
    "passes outcomes on": AnswersOutcomes,
    "passes base exceptions on": WrapsBaseExceptions,
    "gives back what a call took": limited(LeaksOnErrors),
    "answers calls at once each with its own response": MixesResponses,
    "leaves the context of the caller as it was": LeaksContext,
    "passes on a cancellation of the inner call": SwallowsCancellation,
    "is unharmed by a cancellation at any step": limited(LeaksBetween),
    "forgets a waiter that was cancelled": limited(permits=ForgetfulOfTheCancelled),
    "passes on the turn of a cancelled waiter": limited(permits=KeepsTheTurnOfTheCancelled),
    "passes on a cancellation of ready": SwallowsCancellationInReady,
    "has room when nothing runs": NeverHasRoom,
    "starts as many calls as its capacity says": limited(SaysItsLimit),
    "never says a capacity below zero": limited(CountsWaiters),
    "says no more than the inner capacity": limited(ForgetsTheInnerCapacity),
    "waits in ready for the inner service": limited(IsReadyBeforeTheInnerService),
    "passes the error of the inner ready on": SuppressesErrorsOfReady,
    "waits in ready while it is full": limited(IsReadyWhileFull),
    "wakes all in ready": limited(permits=WakesOne),
    "reserves nothing in ready": limited(ReservesInReady),
    "serves waiters in the order of their coming": limited(permits=LastInFirstOut),
    "serves calls before those who only ask": limited(permits=ServesAskersFirst),
    "keeps its services apart": partial(ConcurrencyLimit, Permits(2)),
    "shows its configuration": Hidden,
    "declares what a stack reads": NamesItsRequestType,
}
