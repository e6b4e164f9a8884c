"""One handler, made into the innermost service of a stack."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import attrs

from layered.handler.check import function_problems, service_problems
from layered.handler.generate import Call, Work, compiled, joined
from layered.handler.plan import Plan
from layered.handler.resolve import Offer
from layered.handler.setting import Site
from layered.handler.signature import Signature, Thing, place, quoted, read_signature, short_name
from layered.handler.source import Injected
from layered.task import Kind

MAX_OPEN = 18
"""Most generator dependencies of one call: Python nests 20 blocks."""


async def always_ready() -> None:
    """Answer at once: the `ready` of functions."""


def unlimited() -> int:
    """Answer the most there is: the `capacity` of functions."""
    return sys.maxsize


@attrs.frozen(eq=False)
class Innermost:
    """
    The service around a handler: a `layered.Service` whose outcomes are normalised.

    Args:
        call: The compiled call.
        text: What the handler is called: ``send_email (app.py:12)``.
        ready: The handler's own, if it is a service.
        capacity: The handler's own, if it is a service.
    """

    call: Call
    text: str
    ready: Callable[[], Coroutine[Any, Any, None]]
    capacity: Callable[[], int]

    def __repr__(self) -> str:
        """Name the handler and its place."""
        return self.text


@attrs.frozen
class Branch:
    """
    One compiled handler and the task types that it is for.

    Args:
        service: The innermost service.
        names: The names of the tasks that it handles.
        injected: Its filled parameters.
    """

    service: Innermost
    names: Sequence[str]
    injected: Sequence[Injected]


def compile_branch(handler: Thing, kinds: Sequence[Kind[Any]], site: Site) -> Branch | None:
    """Compile one handler for tasks of *kinds*; append what is wrong and answer `None`."""
    before = len(site.problems)
    serves = callable(getattr(handler, "call", None))
    signature = _readable(handler, site, serves=serves)
    if signature is None:
        return None
    name, file = short_name(handler), place(handler)
    subject = f"handler {quoted(name, file)}"
    check = service_problems if serves else function_problems
    site.problems.extend(f"{subject} {problem}" for problem in check(signature, kinds))
    plan = Plan(subject, Offer(site.setting.data, tuple(kinds)), site.lifetime, site.problems)
    work = _service_work(handler, plan) if serves else _function_work(handler, signature, plan)
    if sum(each.shape.is_generator for each in plan.openings) > MAX_OPEN:
        site.problems.append(
            f"{subject} needs more than {MAX_OPEN} generator dependencies, which Python cannot "
            "nest; open several of them in one"
        )
    if len(site.problems) > before:
        return None
    call = compiled(plan, name, work, site)
    text = f"{name} ({file})" if file else name
    ready = getattr(handler, "ready", always_ready) if serves else always_ready
    capacity = getattr(handler, "capacity", unlimited) if serves else unlimited
    service = Innermost(call, text, ready, capacity)
    return Branch(service, [kind.name for kind in kinds], plan.injected)


def _readable(handler: Thing, site: Site, *, serves: bool) -> Signature | None:
    """Read the signature of what will be called; append why there is none."""
    if isinstance(handler, type):
        name = handler.__name__
        site.problems.append(f"handler {name!r} is a class; pass an object: {name}(...)")
        return None
    if not serves and not callable(handler):
        site.problems.append(
            f"handler {handler!r} cannot be called and has no 'call' method; pass a function or a "
            "service"
        )
        return None
    called: Thing = getattr(handler, "call", handler) if serves else handler
    try:
        return read_signature(called)
    except ValueError:
        site.problems.append(
            f"handler {short_name(handler)!r} has no signature that can be read; call it from a "
            "function of your own"
        )
        return None


def _service_work(handler: Thing, plan: Plan) -> Work:
    return Work(f"{plan.bind('call', handler.call)}(task)")


def _function_work(handler: Thing, signature: Signature, plan: Plan) -> Work:
    function = plan.bind(signature.name, handler)
    arguments = plan.arguments(signature.parameters[1:], signature.name)
    if signature.shape.is_async:
        return Work(f"{function}({joined([(None, 'task.args'), *arguments])})")
    by_position = [each for each in arguments if each[0] is None]
    by_keyword = [each for each in arguments if each[0] is not None]
    if by_keyword:
        function = f"partial({function}, {joined(by_keyword)})"
    passed = joined([(None, function), (None, "task.args"), *by_position])
    return Work(f"in_thread({passed})", threaded=True)
