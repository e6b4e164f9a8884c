"""What the handlers of the worker processes do, by the name that a task gives."""

from __future__ import annotations

import ctypes
import math
import os
import re
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

LOOKING = anyio.Lock()
LEAKED: list[bytes] = []
EXIT_STATUS = 3
"""Of a process whose handler calls `os._exit`."""


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
    # The gate is another process's file: there is nothing to wait on. Only one task looks.
    async with LOOKING:
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


async def shrug(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Swallow a cancellation, and end well all the same."""
    with suppress(BaseException):
        await anyio.sleep_forever()


async def block(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Keep the event loop from everything else, asleep."""
    time.sleep(unit.seconds)  # noqa: ASYNC251 - the very fault


async def backtrack(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Keep the whole process from everything else in the first attempt: one match holds the GIL."""
    if attempt > 1:
        return
    length, took = 14, 0.0
    while took < 0.02:
        length += 1
        began = time.thread_time()  # others may be busy
        re.match(r"(a+)+$", "a" * length + "b")
        took = time.thread_time() - began
    # Each letter more takes twice as long.
    re.match(r"(a+)+$", "a" * (length + math.ceil(math.log2(unit.seconds / took))) + "b")


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


async def leave(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """End the process, in each attempt, without a word."""
    os._exit(EXIT_STATUS)


async def segfault(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Read where nothing is, in each attempt, as a broken C extension would."""
    ctypes.string_at(0)


async def hoard(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Take memory until there is none."""
    hoarded = []
    while True:
        hoarded.append(bytearray(1 << 24))


async def leak(unit: Unit, ctx: WorkerContext, attempt: int, gate: Path) -> None:
    """Lose a little memory, and now and then a descriptor."""
    LEAKED.append(bytes(1 << 14))
    if unit.number % 10 == 0:
        os.dup(0)


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
    "shrug": shrug,
    "block": block,
    "spin": spin,
    "backtrack": backtrack,
    "die when claimed": wait,  # these three are done by `tests.faults.storages`
    "die before the settle": wait,
    "die after the settle": wait,
    "die before the effect": wait,
    "die after the effect": die_after_the_effect,
    "die always": die_always,
    "exit": leave,
    "segfault": segfault,
    "hoard": hoard,
    "leak": leak,
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
