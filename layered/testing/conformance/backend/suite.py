"""The backend suite: how a rule gets its storage, and what a maker of storages may have besides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import TypeAlias

from layered.backend import Limits
from layered.testing.conformance.backend.clock import Clock
from layered.testing.conformance.backend.store import Make, Store
from layered.testing.conformance.rule import Suite

OnStore: TypeAlias = Callable[[Store], Awaitable[None]]
OnMake: TypeAlias = Callable[[Make], Awaitable[None]]

backend_rules: Suite[Make] = Suite("backend", virtual=False)
"""The rules that every backend keeps; each is an object with ``name`` and ``check(make)``."""


def check_backend(make: Make, /, *, loops: Sequence[str] = ()) -> None:
    """
    Check a backend against every rule of the contract, each with a new storage and event loop.

    ::

        def test_my_storage_keeps_the_contract() -> None:
            check_backend(lambda now, limits: MyStorage(str, now=now, limits=limits))

    Args:
        make: Makes a new, empty storage that goes by the clock and keeps
            the limits that it is given. It may have more than that, for
            rules that need it: see `Copies` and `Effects`.
        loops: ``"asyncio"`` and ``"trio"``; empty for all that are installed.

    Raises:
        RuleBroken: if a rule is broken; the message lists all that are.
        WrongState: if an event loop runs in this thread.
    """
    backend_rules.check(make, loops=loops)


@asynccontextmanager
async def opened(make: Make, limits: Limits) -> AsyncIterator[Store]:
    """Give a new storage."""
    clock = Clock()
    async with make(clock, limits) as storage:
        await clock.advance(0.0)
        yield Store(storage, clock, make)


def rule_of(*needs: type[object], limits: Limits | None = None) -> Callable[[OnStore], OnMake]:
    """Put a function of a `Store` into the suite; passing where a capability lacks."""

    def add(function: OnStore) -> OnMake:
        @wraps(function)
        async def check(store: Store) -> None:
            if all(isinstance(store.storage, capability) for capability in needs):
                await function(store)

        return rule(limits)(check)

    return add


def rule(limits: Limits | None = None) -> Callable[[OnStore], OnMake]:
    """Put a function of a `Store` into the suite; it gets one with these limits."""

    def add(function: OnStore) -> OnMake:
        @wraps(function)
        async def check(make: Make) -> None:
            async with opened(make, limits or Limits()) as store:
                await function(store)

        return backend_rules.rule(check)

    return add
