"""Rules of `settle_in`, for storages that have it: a settle and the user's own change are one."""

from __future__ import annotations

from layered.backend import Dead, Settle, Transactional
from layered.task import Status
from layered.testing.conformance.backend.store import (
    FAILURE,
    LOST,
    Effects,
    Store,
    done,
    told,
    unchanged,
)
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import RuleBroken, equal, true


def parts(store: Store) -> tuple[Transactional, Effects] | None:
    """Answer the storage and what makes its effects; `None` if it has no `settle_in`."""
    if not isinstance(store.storage, Transactional):
        return None
    if not isinstance(store.make, Effects):
        msg = "the storage has settle_in, so its maker must have effect() and effects(): `Effects`"
        raise RuleBroken(msg)
    return store.storage, store.make


@rule()
async def a_settle_commits_with_its_effect(store: Store) -> None:
    """The run is settled and the effect stored."""
    if found := parts(store):
        storage, make = found
        lease = await store.running()

        answer = told(await storage.settle_in(make.effect(None), done(lease, b"7")))
        record = await store.read(lease.id)

        equal(answer, "applied done", "the answer")
        equal((record.status, record.result), (Status.DONE, b"7"), "state and result")
        equal(await make.effects(store.storage), 1, "the number of effects")


@rule()
async def an_effect_that_fails_settles_nothing(store: Store) -> None:
    """The error comes out, the effect is undone, and the run goes on: it can still be settled."""
    if found := parts(store):
        storage, make = found
        lease = await store.running()
        before, error = await store.read(lease.id), ValueError("no")

        try:
            await storage.settle_in(make.effect(error), done(lease))
        except ValueError as raised:
            true(raised is error, "the error of the effect comes out as the same object")
        else:
            msg = "settle_in raised nothing, must raise the error of its effect"
            raise RuleBroken(msg)

        unchanged(before, await store.read(lease.id), "a settle whose effect failed")
        equal(await make.effects(store.storage), 0, "the number of effects")
        equal(await store.settle(done(lease)), ["applied done"], "the answer to a settle after it")


@rule()
async def a_stale_settle_has_no_effect(store: Store) -> None:
    """A worker that lost its run changes nothing of the user's, either."""
    if found := parts(store):
        storage, make = found
        lost = await store.running(LOST)
        await store.reap()
        await store.clock.advance(60)
        await store.lease()
        before = await store.read(lost.id)

        answer = told(await storage.settle_in(make.effect(None), done(lost)))

        equal(answer, "stale", "the answer")
        equal(await make.effects(store.storage), 0, "the number of effects")
        unchanged(before, await store.read(lost.id), "a stale settle")


@rule()
async def a_repeated_settle_has_its_effect_once(store: Store) -> None:
    """After an unknown outcome a worker repeats settle and effect: both are there once."""
    if found := parts(store):
        storage, make = found
        lease = await store.running()
        await storage.settle_in(make.effect(None), done(lease))

        same = told(await storage.settle_in(make.effect(None), done(lease)))
        other = Settle(lease.fence, Dead(FAILURE), 1)
        another = told(await storage.settle_in(make.effect(None), other))

        equal((same, another), ("already done", "stale"), "the answers to the same and another")
        equal(await make.effects(store.storage), 1, "the number of effects")
