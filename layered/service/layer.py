"""
Layers: configuration that puts a service around another.

**The first layer added is the outermost**, as in tower's ``ServiceBuilder``:
``Stack(a, b).layer(s)`` answers ``a(b(s))``.

A layer may declare, as class attributes:

``request_type``
    The request type that it needs (default `object`: any). A layer that
    needs tasks says `Task` and is refused elsewhere.
``absorbs``
    `True` if its `capacity()` may be greater than the inner one, that is,
    if it hides back-pressure from the fetch (a load shedder, a buffer).
``single``
    `True` if a stack may hold one of it only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from layered.errors import BuildError
from layered.service.contract import Service

Req = TypeVar("Req")
Res = TypeVar("Res")


THE_STACK = "the stack"
"""The subject of build errors found here."""


class Layer(Protocol):
    """
    Makes a service around another of the same types.

    A layer is configuration: each `layer` call makes fresh state. State is
    shared only by passing a state object, as in
    ``ConcurrencyLimitLayer(Permits(5))``.
    """

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        """Put a new service around *inner*."""
        ...


class LayerFor(Protocol[Req, Res]):
    """A layer around services of these types; every `Layer` is one, whatever the types."""

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        """Put a new service around *inner*."""
        ...


LayerLike: TypeAlias = "LayerFor[Any, Any] | Callable[[Any], Service[Any, Any]]"
"""A `Layer`, or any callable that takes a service and answers a service."""


class Identity:
    """The layer that adds nothing."""

    __slots__ = ()

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        """Answer *inner* itself."""
        return inner

    def __repr__(self) -> str:
        """Show the constructor."""
        return "Identity()"


class Stack:
    """
    Several layers as one; the first is the outermost.

    Args:
        layers: Layers, or callables from service to service; 0 or more.

    Raises:
        BuildError: when the stack is applied, if one of them is no layer.
    """

    __slots__ = ("layers",)

    def __init__(self, *layers: LayerLike) -> None:
        self.layers = layers

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        """Put all layers around *inner*, the last one first."""
        for layer in reversed(self.layers):
            inner = apply_layer(layer, inner)
        return inner

    def __repr__(self) -> str:
        """Show the layers, outermost first."""
        return f"Stack({', '.join(map(repr, self.layers))})"


def flattened(layer: LayerLike) -> tuple[LayerLike, ...]:
    """Answer the layers that *layer* consists of: its own, if it is a `Stack`."""
    if isinstance(layer, Stack):
        return tuple(inner for each in layer.layers for inner in flattened(each))
    return (layer,)


def repeated(layers: Sequence[LayerLike]) -> list[str]:
    """Find layers of which a stack may hold one (`single`) and has more; say so for each kind."""
    kinds = [type(layer) for layer in layers if getattr(layer, "single", False)]
    return [
        f"the stack has {kinds.count(kind)} {kind.__name__}s; keep one: "
        "their attempts would multiply"
        for kind in dict.fromkeys(kinds)
        if kinds.count(kind) > 1
    ]


class _LayerFn:
    __slots__ = ("make",)

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make

    def layer(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        made: Service[Req, Res] = self.make(inner)
        return made

    def __repr__(self) -> str:
        return f"layer_fn({name_of(self.make)})"


def layer_fn(make: Callable[[Service[Req, Res]], Service[Req, Res]], /) -> Layer:
    """
    Make a layer of a function from service to service.

    `.layer()` takes such a function as it is; this is for places that want
    a `Layer` object.
    """
    return _LayerFn(make)


def apply_layer(layer: LayerLike, inner: Service[Req, Res]) -> Service[Req, Res]:
    """
    Put *layer* around *inner*.

    Raises:
        BuildError: if *layer* is no layer, or answers something that is no service.
    """
    if problem := layer_problem(layer):
        raise BuildError(THE_STACK, [problem])
    make: Any = getattr(layer, "layer", layer)
    made: Service[Req, Res] = make(inner)
    if not is_service(made):
        problem = (
            f"layer {layer!r} answered {made!r}, which is no service; answer an object with "
            "'call', 'ready' and 'capacity' (subclass layered.Middleware)"
        )
        raise BuildError(THE_STACK, [problem])
    return made


def layer_problem(layer: object) -> str | None:
    """Say why *layer* cannot be put in a stack, with the way out; `None` if it can."""
    if isinstance(layer, type):
        if hasattr(layer, "layer"):
            return (
                f"{layer.__name__} is a layer's class; add an object: .layer({layer.__name__}(...))"
            )
        if not hasattr(layer, "call"):
            return f"{layer!r} is no layer; subclass layered.Middleware and override 'call'"
        return None
    if callable(getattr(layer, "layer", None)) or callable(layer):
        return None
    return (
        f"{layer!r} is no layer: it has no 'layer' method and cannot be called with a service; "
        "pass a Layer, a Middleware subclass or a function from service to service"
    )


def is_service(thing: object) -> bool:
    """Tell whether *thing* has the three methods of a `Service`."""
    return all(callable(getattr(thing, name, None)) for name in ("call", "ready", "capacity"))


def name_of(function: object) -> str:
    """Name a callable for messages and `repr`."""
    return getattr(function, "__qualname__", None) or repr(function)
