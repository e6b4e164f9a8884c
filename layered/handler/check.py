"""What a handler must look like, whatever its further parameters are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from layered.handler.accept import accepts, bare, origin_of, shown
from layered.handler.signature import MISSING, REST, Parameter, Shape, Signature
from layered.task import Kind, Task


def function_problems(signature: Signature, kinds: Sequence[Kind[Any]]) -> Iterator[str]:
    """Say what is wrong with a function as a handler of *kinds*, each with its way out."""
    yield from _shape_problems(signature)
    first = signature.parameters[0] if signature.parameters else None
    if first is None or not first.is_positional:
        example = f"such as 'args: {shown(kinds[0].form)}'"
        yield f"{_lacking(first)}; give it a first parameter for the task's arguments, {example}"
    elif first.problem is not None:
        yield f"has the annotation {first.text!r} that cannot be read: {first.problem}"
    else:
        yield from _mismatches(first, kinds)


def service_problems(signature: Signature, kinds: Sequence[Kind[Any]]) -> Iterator[str]:
    """Say what is wrong with a service's `call` as a handler of *kinds*."""
    yield from _shape_problems(signature)
    first = signature.parameters[0] if signature.parameters else None
    if first is None or not (first.is_positional or first.kind is first.kind.VAR_POSITIONAL):
        yield "has a 'call' without a parameter for the task; write call(self, task)"
        return
    for other in signature.parameters[1:]:
        if other.default is MISSING and other.kind not in REST:
            yield (
                f"has a 'call' that needs {other.name!r}, but services get the task alone; read it "
                "from the task, keep it in the object, or make the handler a function"
            )
    form = MISSING if first.problem else bare(first.form)
    if origin_of(form) is not Task:
        if not accepts(form, Task):
            yield (
                f"has a 'call' that takes {shown(form)}, but services get the whole task; "
                f"write Task[{shown(form)}] and use 'task.args'"
            )
        return
    for kind in kinds:
        if not accepts(get_args(form)[0], kind.form):
            yield (
                f"takes {shown(form)}, the storage holds {shown(kind.form)}; let it take "
                "that too, or use a Router"
            )


def _shape_problems(signature: Signature) -> Iterator[str]:
    if signature.shape.is_generator:
        yield (
            f"is {signature.shape.value}, which has no result; return one value instead of "
            "yielding several"
        )
    if signature.shape is Shape.PLAIN and signature.wraps is Shape.ASYNC:
        yield (
            "is a plain function around an async one, so nothing would await it; make the "
            "function around it an 'async def'"
        )


def _lacking(first: Parameter | None) -> str:
    if first is None:
        return "has no parameters"
    if first.kind is first.kind.KEYWORD_ONLY:
        return "has no positional parameter"
    stars = "*" if first.kind is first.kind.VAR_POSITIONAL else "**"
    return f"takes {stars}{first.name} first, as functions without functools.wraps do"


def _mismatches(first: Parameter, kinds: Sequence[Kind[Any]]) -> Iterator[str]:
    form = bare(first.form)
    if form is Task or origin_of(form) is Task:
        yield (
            f"takes {shown(form)} first ({first.name!r}), where the task's arguments come; put a "
            f"parameter of type {shown(kinds[0].form)} before it"
        )
        return
    for kind in kinds:
        if not accepts(form, kind.form):
            yield (
                f"takes {shown(form)} first ({first.name!r}), the storage holds "
                f"{shown(kind.form)}; let it take that too, or use a Router"
            )
