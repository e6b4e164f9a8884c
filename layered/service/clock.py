"""
The running loop's clock and cancel scope, looked up once.

`anyio.current_time()` and `anyio.CancelScope()` find out at every call
which event loop is running, which costs more than what they then do. Hot
paths ask here once per run and keep the answer. All time in layered that
is not a store's own comes from here, so a virtual-time loop moves
everything.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

import anyio


def loop_clock() -> Callable[[], float]:
    """
    Answer the function that reads the running loop's clock, in seconds.

    Equal to `anyio.current_time`, without its look-up.

    Raises:
        RuntimeError: if no event loop is running in this thread.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        clock: Callable[[], float] = trio.current_time
        return clock
    return asyncio.get_running_loop().time


def scope_class() -> type[anyio.CancelScope]:
    """Answer the running loop's own class of cancel scope, called as `anyio.CancelScope`."""
    return type(anyio.CancelScope())


def loop_token() -> object:
    """
    Answer an object that stands for the running loop: the same at each call, for one run.

    Raises:
        RuntimeError: if no event loop is running in this thread.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        token: object = trio.lowlevel.current_trio_token()
        return token
    return asyncio.get_running_loop()


def loop_runs() -> bool:
    """Tell whether an event loop is running in this thread."""
    try:
        loop_token()
    except RuntimeError:
        return False
    return True


def loop_poster() -> Callable[[Callable[[], object]], None]:
    """
    Answer a function by which any thread has a callable run soon in the running loop.

    It never waits. Once the loop has ended, what is posted is dropped.

    Raises:
        RuntimeError: if no event loop is running in this thread.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        post: Callable[[Callable[[], object]], object] = (
            trio.lowlevel.current_trio_token().run_sync_soon
        )
    else:
        post = asyncio.get_running_loop().call_soon_threadsafe

    def post_or_drop(work: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed; trio.RunFinishedError is one
            post(work)

    return post_or_drop
