"""
What one handler's call consists of: its arguments, and the dependencies to open first.

Dependencies are found depth first, so each stands after what it needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

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
        self._opened: dict[object, Opening | None] = {}
        self._path: list[tuple[object, str]] = []

    @property
    def openings(self) -> list[Opening]:
        """The dependencies of one run, each after those that it needs."""
        return [each for each in self._opened.values() if each is not None]

    def bind(self, hint: str, value: object) -> str:
        """Make *value* a global of the compiled call; answer its name."""
        letters = "".join(c if c.isalnum() and c.isascii() else "_" for c in hint).strip("_")
        name = f"{letters}_{len(self.namespace)}"
        self.namespace[name] = value
        return name

    def arguments(
        self, parameters: Sequence[Parameter], owner: str, subject: str
    ) -> list[Argument]:
        """Find the expressions that fill *parameters* once per run."""
        filled: list[Argument] = []
        for keyword, parameter, source in self._sources(parameters, owner, subject):
            text = self._expression(parameter, source, subject)
            if text is not None:
                filled.append((keyword, text))
        return filled

    def _sources(
        self, parameters: Sequence[Parameter], owner: str, subject: str
    ) -> list[tuple[str | None, Parameter, Source]]:
        found: list[tuple[str | None, Parameter, Source]] = []
        skipped = False
        for parameter in parameters:
            if parameter.kind in REST:
                continue
            try:
                source = source_of(parameter, self._offer)
            except Unfillable as error:
                self._refuse(subject, parameter, error)
                continue
            if source is not None:
                self.injected.append(Injected(owner, parameter.name, parameter.text, source.text))
            elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                source = Constant(parameter.default, "default")
            else:
                skipped = True
                continue
            by_position = parameter.is_positional and not skipped
            found.append((None if by_position else parameter.name, parameter, source))
        return found

    def _expression(self, parameter: Parameter, source: Source, subject: str) -> str | None:
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
            shared = self._shared(parameter, source, subject)
            return shared and shared.variable
        key = _key(source.function)
        if key not in self._opened and self._enters(key, parameter, source, subject):
            self._opened[key] = self._opening(parameter, source, subject)
            self._path.pop()
        opening = self._opened.get(key)
        return opening and opening.variable

    def _opening(self, parameter: Parameter, source: Provided, subject: str) -> Opening | None:
        signature = self._read(parameter, source, subject)
        if signature is None:
            return None
        inner = f"dependency {signature.quoted} of {self.subject}"
        arguments = self.arguments(signature.parameters, signature.name, inner)
        function = self.bind(signature.name, source.function)
        return Opening(f"{function}_value", function, signature.name, signature.shape, arguments)

    def _shared(self, parameter: Parameter, source: Provided, subject: str) -> Shared | None:
        shared, key = self._lifetime.shared, _key(source.function)
        if key not in shared and self._enters(key, parameter, source, subject):
            shared[key] = self._sharing(parameter, source, subject)
            self._path.pop()
        return shared.get(key)

    def _sharing(self, parameter: Parameter, source: Provided, subject: str) -> Shared | None:
        signature = self._read(parameter, source, subject)
        if signature is None:
            return None
        inner = f"worker-scoped dependency {signature.quoted} of {self.subject}"
        arguments: list[tuple[str | None, Fixed | Shared]] = []
        for keyword, wanted, found in self._sources(signature.parameters, signature.name, inner):
            value = self._lasting(wanted, found, inner)
            if value is not None:
                arguments.append((keyword, value))
        variable = f"shared_{len(self._lifetime.shared)}"
        return Shared(variable, signature.name, source.function, signature.shape, arguments)

    def _lasting(self, parameter: Parameter, source: Source, subject: str) -> Fixed | Shared | None:
        if isinstance(source, Constant):
            return Fixed(source.value)
        if isinstance(source, Provided) and source.scope == "worker":
            return self._shared(parameter, source, subject)
        found = f"{source.text} belongs to one run of one task, and this serves all of them"
        self._refuse(subject, parameter, Unfillable(found, "leave it out, or use scope='attempt'"))
        return None

    def _read(self, parameter: Parameter, source: Provided, subject: str) -> Signature | None:
        try:
            signature = read_signature(source.function)
        except (TypeError, ValueError):
            error = Unfillable(
                f"{source.function!r} has no signature that can be read",
                "give Depends a Python function",
            )
            return self._refuse(subject, parameter, error)
        if signature.wraps.is_generator and not signature.shape.is_generator:
            error = Unfillable(
                f"{signature.name!r} is a decorated generator",
                "give Depends the generator function itself, without @contextmanager",
            )
            return self._refuse(subject, parameter, error)
        return signature

    def _enters(self, key: object, parameter: Parameter, source: Provided, subject: str) -> bool:
        keys = [each for each, _ in self._path]
        name = getattr(source.function, "__name__", repr(source.function))
        if key not in keys:
            self._path.append((key, name))
            return True
        names = [*(each for _, each in self._path[keys.index(key) :]), name]
        found = f"dependencies need each other in a circle, {' -> '.join(names)}"
        self._refuse(subject, parameter, Unfillable(found, "take one of them out of it"))
        return False

    def _refuse(self, subject: str, parameter: Parameter, error: Unfillable) -> None:
        self._problems.append(f"{subject} cannot fill parameter {parameter.name!r}: {error}")


def _key(function: Callable[..., object]) -> object:
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function
