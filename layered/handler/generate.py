"""
The source of one compiled call, made once when a worker is built.

For ``async def send(email, state: Data[State], *, session: ...Depends(open_session))``
it reads::

    async def call(task):
        async with Held(open_session_1(), "open_session", limit) as open_session_1_value:
            result = await send(task.args, state_0, session=open_session_1_value)
            if result is None or type(result) in PLAIN:
                return result
            return normalised(result, name)

Values of the worker's life are globals; values of one run are attribute
reads. The source is kept in `linecache`, so tracebacks and debuggers show
it, as attrs does with the methods that it makes.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeAlias

import attrs
from anyio.lowlevel import checkpoint_if_cancelled

from layered.handler.outcome import PLAIN, normalised
from layered.handler.plan import Argument, Opening, Plan
from layered.handler.setting import Site
from layered.handler.signature import Shape
from layered.handler.teardown import Held, HeldSync
from layered.handler.thread import in_thread
from layered.task import Task

Call: TypeAlias = Callable[[Task[Any]], Awaitable[Any]]
"""A compiled call."""


def joined(arguments: Sequence[Argument]) -> str:
    """Write an argument list."""
    return ", ".join(text if key is None else f"{key}={text}" for key, text in arguments)


@attrs.frozen
class Work:
    """
    What is called once everything is open.

    Args:
        expression: The call, to be awaited.
        threaded: Whether it ends in a thread, which no cancellation interrupts.
    """

    expression: str
    threaded: bool = False


def compiled(plan: Plan, name: str, work: Work, site: Site) -> Call:
    """Compile the call of the handler *name*, which is *work* inside what *plan* opens."""
    lines, indent = ["async def call(task):"], "    "
    if plan.uses_lifetime:
        lines += [f"{indent}if not lifetime.is_open:", f"{indent}    raise lifetime.closed()"]
        site.lifetime.namespaces.append(plan.namespace)
    for opening in plan.openings:
        lines.append(indent + _opened(opening, plan))
        if opening.shape.is_generator:
            indent += "    "
    lines.append(f"{indent}result = await {work.expression}")
    if work.threaded:
        # A time limit inside the worker passed while the thread ran: the late
        # result is not taken. What the worker itself cancels, it may still use.
        lines += [
            f"{indent}if task.run.reason is None:",
            f"{indent}    await checkpoint_if_cancelled()",
        ]
    lines += [
        f"{indent}if result is None or type(result) in PLAIN:",
        f"{indent}    return result",
        f"{indent}return normalised(result, {name!r})",
    ]
    plan.namespace |= _globals(site)
    return _executed("\n".join(lines) + "\n", name, plan.namespace)


def _globals(site: Site) -> dict[str, object]:
    return {
        "Held": Held,
        "HeldSync": HeldSync,
        "PLAIN": PLAIN,
        "checkpoint_if_cancelled": checkpoint_if_cancelled,
        "in_thread": partial(in_thread, site.threads),
        "lifetime": site.lifetime,
        "limit": site.setting.teardown_timeout,
        "normalised": normalised,
        "partial": partial,
    }


def _opened(opening: Opening, plan: Plan) -> str:
    called = f"{opening.function}({joined(opening.arguments)})"
    variable, function = opening.variable, opening.function
    if opening.shape is Shape.GENERATOR:
        plan.namespace[function] = contextmanager(plan.namespace[function])
        return f"with HeldSync({called}, {opening.dependency!r}) as {variable}:"
    if opening.shape is Shape.ASYNC_GENERATOR:
        plan.namespace[function] = asynccontextmanager(plan.namespace[function])
        return f"async with Held({called}, {opening.dependency!r}, limit) as {variable}:"
    return f"{variable} = {'await ' if opening.shape is Shape.ASYNC else ''}{called}"


def _executed(source: str, name: str, namespace: dict[str, Any]) -> Call:
    # The same source has the same file name: building a worker again and
    # again does not fill the cache.
    digest = hashlib.blake2s(source.encode(), digest_size=4).hexdigest()
    filename = f"<layered handler {name} {digest}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102 - ours
    call: Call = namespace["call"]
    return call
