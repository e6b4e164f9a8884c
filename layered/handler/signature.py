"""What is known of a callable before it runs: its name, place, shape and parameters."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import types
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeAlias, get_type_hints

import attrs

Thing: TypeAlias = Any
"""Whatever a user passes as a handler or a dependency."""

Names: TypeAlias = dict[str, Any]

MISSING: Any = inspect.Parameter.empty
"""The form of a parameter without annotation."""

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Shape(Enum):
    """What a call answers; the value is what messages say."""

    PLAIN = "a plain function"
    ASYNC = "an async function"
    GENERATOR = "a generator"
    ASYNC_GENERATOR = "an async generator"

    @property
    def is_generator(self) -> bool:
        """Whether it yields."""
        return self in {Shape.GENERATOR, Shape.ASYNC_GENERATOR}

    @property
    def is_async(self) -> bool:
        """Whether it needs the event loop."""
        return self in {Shape.ASYNC, Shape.ASYNC_GENERATOR}


@attrs.frozen
class Parameter:
    """
    One parameter of a callable.

    Args:
        name: Its name.
        kind: Positional, keyword-only, and so on.
        default: Its default, or `MISSING`.
        form: Its resolved annotation, ``Annotated`` included; `MISSING` without one.
        text: The annotation as written.
        problem: Why the annotation cannot be read, with the way out.
    """

    name: str
    kind: Any
    default: object
    form: Any
    text: str
    problem: str | None

    @property
    def is_positional(self) -> bool:
        """Whether it can be filled by position."""
        return self.kind in POSITIONAL


@attrs.frozen
class Signature:
    """
    A callable as the compiler sees it.

    Args:
        name: Short name, for messages.
        place: Where it is defined: ``app.py:12``; empty if unknown.
        shape: What a call answers.
        parameters: In order, without those that a method or partial has bound.
        wraps: The shape of what it wraps, if it is a decorator's function.
    """

    name: str
    place: str
    shape: Shape
    parameters: Sequence[Parameter]
    wraps: Shape

    @property
    def quoted(self) -> str:
        """Name and place for messages: ``'send_email' (app.py:12)``."""
        return quoted(self.name, self.place)


def read_signature(thing: Callable[..., object]) -> Signature:
    """
    Read what can be known of *thing* without calling it.

    Raises:
        ValueError: if it has no signature (some functions written in C).
    """
    found = inspect.signature(thing, **_forward_references())
    defined = definition(thing)
    scope = _scope(thing, defined)
    bound = _bound(thing)
    parameters = [
        _parameter(each, scope) for name, each in found.parameters.items() if name not in bound
    ]
    inner = inspect.unwrap(defined)
    return Signature(short_name(thing), place(thing), shape(defined), parameters, shape(inner))


def definition(thing: Thing) -> Thing:
    """Find the function that runs when *thing* is called; for a class, its ``__init__``."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    if isinstance(thing, type):
        return inspect.getattr_static(thing, "__init__")
    if not inspect.isroutine(thing):
        thing = type(thing).__call__
    return thing


def shape(function: object) -> Shape:
    """Tell what a call of *function* answers."""
    if inspect.isasyncgenfunction(function):
        return Shape.ASYNC_GENERATOR
    if inspect.isgeneratorfunction(function):
        return Shape.GENERATOR
    return Shape.ASYNC if inspect.iscoroutinefunction(function) else Shape.PLAIN


def short_name(thing: Thing) -> str:
    """Name a callable or service for people, without the functions around it."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    name: str = named.__qualname__
    return name.rpartition("<locals>.")[2]


def place(thing: Thing) -> str:
    """Tell where a callable or service is defined: ``app.py:12``; empty if it is in no file."""
    serves = getattr(thing, "call", None)
    code = getattr(inspect.unwrap(definition(serves or thing)), "__code__", None)
    return f"{PurePath(code.co_filename).name}:{code.co_firstlineno}" if code else ""


def quoted(name: str, place: str) -> str:
    """Give name and place for messages."""
    return f"{name!r} ({place})" if place else repr(name)


def _bound(thing: Thing) -> set[str]:
    """Name what a partial fills by keyword: inspect shows it as a default."""
    names: set[str] = set()
    while isinstance(thing, functools.partial):
        names |= thing.keywords.keys()
        thing = thing.func
    return names


def _forward_references() -> Names:
    # From 3.14 on annotations are evaluated when asked for; a name that is
    # missing then must come here as a reference, not as an error.
    if sys.version_info >= (3, 14):  # pragma: no cover - older ones cannot run it
        return {"annotation_format": importlib.import_module("annotationlib").Format.FORWARDREF}
    return {}


def _scope(thing: Thing, defined: Thing) -> tuple[Names, Names]:
    inner = inspect.unwrap(defined)
    outside = dict(getattr(inner, "__globals__", {}))
    if isinstance(thing, type) and thing.__module__ in sys.modules:
        # An __init__ made by attrs or dataclasses has globals of its own.
        outside |= vars(sys.modules[thing.__module__])
    code = getattr(inner, "__code__", None)
    cells = zip(
        getattr(code, "co_freevars", ()), getattr(inner, "__closure__", None) or (), strict=True
    )
    return outside, {name: cell.cell_contents for name, cell in cells if _is_set(cell)}


def _is_set(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises if nothing is in it yet
    except ValueError:
        return False
    return True


def _parameter(found: inspect.Parameter, scope: tuple[Names, Names]) -> Parameter:
    form, problem = found.annotation, None
    text = form if isinstance(form, str) else inspect.formatannotation(form)
    try:
        form = _resolved(form, *scope)
    except NameError as error:
        problem = (
            f"the name {error.name!r} is not known when the worker is built; define or import "
            "it at module level, not inside a function or under 'if TYPE_CHECKING:'"
        )
    except Exception as error:  # noqa: BLE001 - an annotation may be any expression
        problem = f"it raises {error!r}; write a type"
    return Parameter(found.name, found.kind, found.default, form, text, problem)


def _resolved(form: object, outside: Names, local: Names) -> object:
    def carrier() -> None: ...

    carrier.__annotations__ = {"form": form}
    return get_type_hints(carrier, outside, local, include_extras=True)["form"]
