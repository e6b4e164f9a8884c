"""What the handlers of the worker processes do, by the name that a task gives."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import anyio

from layered import Attempt, Data, WorkerContext
from tests.faults.setting import Ledger, PlainUnit, Unit


async def handle(unit: Unit, ctx: WorkerContext, attempt: Attempt, ledger: Data[Ledger]) -> None:
    """Leave an effect, then do what the task says."""
    if unit.deed == "die before the effect" and attempt == 1:
        die()
    ledger.add(unit.number, attempt)
    await DEEDS[unit.deed](unit, ctx, attempt, ledger.gate(attempt))


def handle_plain(
    unit: PlainUnit, ctx: WorkerContext, attempt: Attempt, ledger: Data[Ledger]
) -> None:
    """Do the same in a thread."""
    ledger.add(unit.number, attempt)
    PLAIN_DEEDS[unit.deed](ctx)


def die() -> NoReturn:
    """End this process as the kernel would when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives that")


async def wait(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Wait, as a handler does that talks to a server."""
    await anyio.sleep(unit.seconds)


async def hold(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Wait for the gate, unless cancelled."""
    # The gate is another process's file: there is nothing to wait on.
    while not gate.exists():  # noqa: ASYNC110, ASYNC240
        await anyio.sleep(0.01)


async def give_way(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Wait for a cancellation in the first attempt, end at once in others."""
    if attempt == 1:
        await anyio.sleep_forever()


async def insist(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Wait for the gate, and end well even if cancelled; later attempts do not wait, or do."""
    if attempt == 1 or unit.deed == "insist each time":
        with anyio.CancelScope(shield=True):
            await hold(unit, ctx, attempt, gate)


async def swallow(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Never end, whoever cancels."""
    while True:
        with suppress(BaseException):
            await anyio.sleep_forever()


async def block(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Keep the event loop from everything else, asleep."""
    time.sleep(unit.seconds)  # noqa: ASYNC251 - the very fault


async def spin(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Keep the event loop from everything else, busy."""
    end = time.monotonic() + unit.seconds
    while time.monotonic() < end:
        pass


async def die_after_the_effect(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Take the process along in the first attempt."""
    if attempt == 1:
        die()


async def die_always(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Take the process along in each attempt: a poison pill."""
    die()


async def settle_in(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Leave the effect in the store, in the transaction that ends the task."""

    def effect(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO effect VALUES (?)", (unit.number,))
        if unit.deed == "settle_in, die inside" and attempt == 1:
            die()

    await anyio.sleep(unit.seconds)
    await ctx.settle_in(effect)
    if unit.deed == "settle_in, die after" and attempt == 1:
        die()


DEEDS: Mapping[str, Callable[[Unit, WorkerContext, int, Path], Awaitable[None]]] = {
    "wait": wait,
    "hold": hold,
    "give way": give_way,
    "insist": insist,
    "insist each time": insist,
    "swallow": swallow,
    "block": block,
    "spin": spin,
    "die when claimed": wait,  # these three are done by `tests.faults.storages`
    "die before the settle": wait,
    "die after the settle": wait,
    "die before the effect": wait,
    "die after the effect": die_after_the_effect,
    "die always": die_always,
    "settle_in": settle_in,
    "settle_in, die inside": settle_in,
    "settle_in, die after": settle_in,
}


def ignore(ctx: WorkerContext) -> None:
    """Never end, and never look whether to."""
    while True:
        time.sleep(0.05)


def cooperate(ctx: WorkerContext) -> None:
    """Work until told not to."""
    while not ctx.cancelled:
        time.sleep(0.01)
    raise InterruptedError


PLAIN_DEEDS: Mapping[str, Callable[[WorkerContext], None]] = {
    "ignore": ignore,
    "cooperate": cooperate,
}
