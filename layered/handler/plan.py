"""
What one handler's call consists of: its arguments, and the dependencies to open first.

Dependencies are found depth first, so each stands after what it needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import attrs

from layered.handler.lifetime import Fixed, Lifetime, Shared
from layered.handler.resolve import Offer, source_of
from layered.handler.signature import (
    REST,
    Parameter,
    Shape,
    Signature,
    definition,
    read_signature,
)
from layered.handler.source import (
    Attribute,
    Computed,
    Constant,
    Injected,
    Provided,
    Source,
    Unfillable,
)

T = TypeVar("T")

Argument: TypeAlias = tuple[str | None, str]
"""Keyword (`None` for a positional one) and expression."""


@attrs.frozen
class Opening:
    """
    One dependency to open before the handler runs.

    Args:
        variable: What its value is called in the compiled call.
        function: The global name of the function.
        dependency: The function's own name, for messages.
        shape: What a call of it answers.
        arguments: The expressions of its arguments.
    """

    variable: str
    function: str
    dependency: str
    shape: Shape
    arguments: Sequence[Argument]


class Plan:
    """
    Collects what a compiled call needs, and all that is wrong with it.

    Args:
        subject: "handler 'send_email' (app.py:12)", for messages.
        offer: What there is to fill parameters with.
        lifetime: Takes the worker-scoped dependencies.
        problems: Where problems are appended.
    """

    def __init__(self, subject: str, offer: Offer, lifetime: Lifetime, problems: list[str]) -> None:
        self.namespace: dict[str, Any] = {}
        self.injected: list[Injected] = []
        self.uses_lifetime = False
        self.subject = subject
        self._offer = offer
        self._lifetime = lifetime
        self._problems = problems
        self._opened: dict[object, Opening] = {}
        self._path: list[tuple[object, str]] = []

    @property
    def openings(self) -> Sequence[Opening]:
        """The dependencies of one run, each after those that it needs."""
        return list(self._opened.values())

    def bind(self, hint: str, value: object) -> str:
        """Make *value* a global of the compiled call; answer its name."""
        letters = "".join(c if c.isalnum() and c.isascii() else "_" for c in hint)
        name = f"{letters}_{len(self.namespace)}"
        self.namespace[name] = value
        return name

    def arguments(self, parameters: Sequence[Parameter], owner: str) -> list[Argument]:
        """Find the expressions that fill the handler's *parameters* once per run."""
        return self._filled(parameters, owner, self.subject, self._expression)

    def _filled(
        self,
        parameters: Sequence[Parameter],
        owner: str,
        subject: str,
        answer: Callable[[Parameter, Source], T],
    ) -> list[tuple[str | None, T]]:
        """Answer what fills each of *parameters*, by keyword after one that keeps its default."""
        filled: list[tuple[str | None, T]] = []
        skipped = False
        for parameter in parameters:
            if parameter.kind in REST:
                continue
            try:
                source = self._source(parameter, owner)
                if source is None:
                    skipped = True
                    continue
                value = answer(parameter, source)
            except Unfillable as error:
                name = parameter.name
                self._problems.append(f"{subject} cannot fill parameter {name!r}: {error}")
                continue
            by_position = parameter.is_positional and not skipped
            filled.append((None if by_position else parameter.name, value))
        return filled

    def _source(self, parameter: Parameter, owner: str) -> Source | None:
        source = source_of(parameter, self._offer)
        if source is not None:
            self.injected.append(Injected(owner, parameter.name, parameter.text, source.text))
        elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            return Constant(parameter.default, "default")
        return source

    def _expression(self, parameter: Parameter, source: Source) -> str:
        """Write what is evaluated once per run."""
        if isinstance(source, Constant):
            return self.bind(parameter.name, source.value)
        if isinstance(source, Attribute):
            return f"task.{source.path}" if source.path else "task"
        if isinstance(source, Computed):
            called = f"{self.bind(parameter.name, source.function)}(task)"
            is_async = inspect.iscoroutinefunction(definition(source.function))
            return f"(await {called})" if is_async else called
        if source.scope == "worker":
            self.uses_lifetime = True
            return self._shared(source).variable
        return self._opening(source).variable

    def _lasting(self, parameter: Parameter, source: Source) -> Fixed | Shared:
        """Find what is there before any task is."""
        del parameter
        if isinstance(source, Constant):
            return Fixed(source.value)
        if isinstance(source, Provided) and source.scope == "worker":
            return self._shared(source)
        found = f"{source.text} belongs to one run of one task, and this serves all of them"
        raise Unfillable(found, "leave it out, or use scope='attempt'")

    def _opening(self, source: Provided) -> Opening:
        key = _key(source.function)
        if key not in self._opened:
            with self._reading(source) as read:
                subject = f"dependency {read.quoted} of {self.subject}"
                arguments = self._filled(read.parameters, read.name, subject, self._expression)
            function = self.bind(read.name, source.function)
            variable = f"{function}_value"
            self._opened[key] = Opening(variable, function, read.name, read.shape, arguments)
        return self._opened[key]

    def _shared(self, source: Provided) -> Shared:
        key, shared = _key(source.function), self._lifetime.shared
        if key not in shared:
            with self._reading(source) as read:
                subject = f"worker-scoped dependency {read.quoted} of {self.subject}"
                arguments = self._filled(read.parameters, read.name, subject, self._lasting)
            variable = f"shared_{len(shared)}_by_all"  # no name that `bind` makes
            shared[key] = Shared(variable, read.name, source.function, read.shape, arguments)
        return shared[key]

    @contextmanager
    def _reading(self, source: Provided) -> Iterator[Signature]:
        """Read a dependency, and stand on the path to what it needs meanwhile."""
        signature = read_dependency(source.function)
        key = (_key(source.function), source.scope)
        keys = [each for each, _ in self._path]
        if key in keys:
            circle = [*(name for _, name in self._path[keys.index(key) :]), signature.name]
            found = f"dependencies need each other in a circle, {' -> '.join(circle)}"
            raise Unfillable(found, "take one of them out")
        self._path.append((key, signature.name))
        yield signature
        self._path.pop()


def read_dependency(function: Callable[..., object]) -> Signature:
    """
    Read the function of a dependency.

    Raises:
        Unfillable: if it can be no dependency.
    """
    try:
        signature = read_signature(function)
    except (TypeError, ValueError) as error:
        found = f"{function!r} has no signature that can be read"
        raise Unfillable(found, "give Depends a Python function") from error
    if signature.wraps.is_generator and not signature.shape.is_generator:
        found = f"{signature.name!r} is a generator inside a decorator"
        raise Unfillable(found, "give Depends the generator itself, without @contextmanager")
    return signature


def _key(function: Callable[..., object]) -> object:
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function
