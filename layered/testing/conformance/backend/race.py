"""Rules of callers that want the same at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio

from layered.backend import Settle
from layered.testing.conformance.backend.store import ENDINGS, LOST, Store, done, draft
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal, true

T = TypeVar("T")


async def at_once(*calls: Callable[[], Awaitable[T]]) -> Sequence[T]:
    """Make several calls at the same time; their answers, in the order of the calls."""
    answers: dict[int, T] = {}

    async def run(at: int, call: Callable[[], Awaitable[T]]) -> None:
        answers[at] = await call()

    async with anyio.create_task_group() as tasks:
        for at, call in enumerate(calls):
            tasks.start_soon(run, at, call)
    return [answers[at] for at in range(len(calls))]


@rule()
async def of_the_same_settle_by_many_one_is_applied(store: Store) -> None:
    """Repeated at the same time, a settle is applied once, and known by the others."""
    settle = done(await store.running())

    answers = await at_once(*[partial(store.settle, settle)] * 10)

    equal(sorted(one for (one,) in answers), [*["already done"] * 9, "applied done"], "the answers")


@rule()
async def of_different_endings_at_once_one_is_applied(store: Store) -> None:
    """A run ends in one way: the others are refused, and the task is as the one says."""
    for _ in range(5):
        fence = (await store.running()).fence
        settles = [Settle(fence, ending, 1) for ending in ENDINGS.values()]

        answers = await at_once(*(partial(store.settle, settle) for settle in settles))

        state = (await store.read(fence.id)).status.label
        wanted = [[f"applied {name}" if name == state else "stale"] for name in ENDINGS]
        equal(answers, wanted, f"the answers to {[*ENDINGS]} of a task that is {state} now")
        await store.clock.advance(60)
        await store.settle(*(done(again) for again in await store.claim()))


@rule()
async def a_settle_and_a_reap_at_once_never_both_count(store: Store) -> None:
    """A late settle is applied, or its task is reaped: never both, never neither."""
    for _ in range(10):
        lease = await store.running(LOST)

        await at_once(partial(store.settle, done(lease, b"late")), store.reap)

        record = await store.read(lease.id)
        fate = (record.status.label, record.lost, record.result)
        fates = [("done", 0, b"late"), ("retry", 1, None)]
        true(fate in fates, f"a task is settled or lost, and not as {fate}")
        again = await store.settle(done(lease, b"late"))
        known = ["already done"] if record.lost == 0 else ["stale"]
        equal(again, known, f"the answer to the settle again, of a task that is {fate}")
        await store.clock.advance(60)
        await store.settle(*(done(other) for other in await store.claim()))


@rule()
async def a_task_is_claimed_by_one_of_two(store: Store) -> None:
    """Two claimers that want the same task: one gets it, the other nothing."""
    for _ in range(10):
        await store.push(draft())

        both = await at_once(store.claim, store.claim)

        equal(sorted(len(leases) for leases in both), [0, 1], "the numbers claimed by the two")
        await store.settle(*(done(lease) for leases in both for lease in leases))
