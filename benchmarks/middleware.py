"""What does a middleware that does nothing cost? Six of them, divided by six."""

from __future__ import annotations

import anyio

from benchmarks import mail
from benchmarks.dispatch import Dispatch
from benchmarks.rounds import fastest
from benchmarks.table import Line
from layered import Middleware, Task, service_fn

LOOPS = ("asyncio", "trio")
ROUNDS = 100
MANY = 6


class Nothing(Middleware[Task[mail.Mail], object]):
    """The simplest middleware that a user writes."""

    async def call(self, request: Task[mail.Mail], /) -> object:
        """Call the inner service."""
        return await self.inner.call(request)


async def measure() -> list[Line]:
    """Compare stacks of none and of six."""
    async with anyio.create_task_group() as crew:
        cases = {}
        for suspends, handler in (("never", mail.never), ("once", mail.once)):
            bare = service_fn(handler)
            cases[f"{suspends} none"] = Dispatch(crew, bare).round
            cases[f"{suspends} many"] = Dispatch(crew, bare, [Nothing] * MANY).round
        best = await fastest(cases, ROUNDS)
        crew.cancel_scope.cancel()
    each = {way: (best[f"{way} many"] - best[f"{way} none"]) / MANY for way in ("never", "once")}
    return [Line(f"one, handler suspends {way}", each[way], most=0.3e-6) for way in each]
