"""`ServiceBuilder`: a typed stack of layers, outermost first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, get_origin

from layered.errors import BuildError
from layered.service.combinators import map_error, map_request, map_response
from layered.service.contract import InReq, InRes, OutReq, OutRes, Service
from layered.service.layer import (
    THE_STACK,
    LayerFor,
    LayerLike,
    Stack,
    flattened,
    layer_problem,
    repeated,
)

if TYPE_CHECKING:
    from typing_extensions import TypeForm

Req = TypeVar("Req")
Res = TypeVar("Res")
New = TypeVar("New")


class Wraps(Protocol[Req, Res]):
    """A callable from a service to a service of the same types."""

    def __call__(self, inner: Service[Req, Res], /) -> Service[Req, Res]:
        """Put a service around *inner*."""
        ...


class ServiceBuilder(Generic[OutReq, OutRes, InReq, InRes]):
    """
    Collects layers, the outermost first, and puts them around a service.

    Start with `of`; every method answers a new builder::

        >>> import anyio
        >>> from layered import ServiceBuilder, service_fn
        >>> async def shout(text: str) -> str:
        ...     return text.upper()
        >>> service = (
        ...     ServiceBuilder.of(str, str)
        ...     .map_response(lambda text: f"outer({text})")
        ...     .map_response(lambda text: f"inner({text})")
        ...     .service(service_fn(shout))
        ... )
        >>> anyio.run(service.call, "hi")
        'outer(inner(HI))'
    """

    __slots__ = ("_layers", "_problems", "_request")

    def __init__(
        self,
        layers: tuple[LayerLike, ...] = (),
        request: object = None,
        problems: tuple[str, ...] = (),
    ) -> None:
        self._layers = layers
        self._request = request
        self._problems = problems

    @staticmethod
    def of(request: TypeForm[Req], response: TypeForm[Res]) -> ServiceBuilder[Req, Res, Req, Res]:
        """Start a builder for services from *request* to *response*."""
        del response  # for the type checker only
        return ServiceBuilder((), request)

    def layer(
        self, layer: LayerFor[InReq, InRes] | Wraps[InReq, InRes], /
    ) -> ServiceBuilder[OutReq, OutRes, InReq, InRes]:
        """
        Add a layer inside those added so far.

        Raises:
            BuildError: by `service`, if it is no layer, needs another request type, or is a
                second one of a kind of which there may be one.
        """
        added = flattened(layer)
        found = [text for one in added for text in (layer_problem(one), self._misfit(one))]
        problems = (*self._problems, *(text for text in found if text))
        return ServiceBuilder((*self._layers, *added), self._request, problems)

    def map_request(
        self, function: Callable[[InReq], New], /
    ) -> ServiceBuilder[OutReq, OutRes, New, InRes]:
        """Change the request for everything inside."""
        return ServiceBuilder((*self._layers, map_request(function)), None, self._problems)

    def map_response(
        self, function: Callable[[New], InRes], /
    ) -> ServiceBuilder[OutReq, OutRes, InReq, New]:
        """Change the response of everything inside."""
        layers = (*self._layers, map_response(function))
        return ServiceBuilder(layers, self._request, self._problems)

    def map_error(
        self, function: Callable[[Exception], Exception], /
    ) -> ServiceBuilder[OutReq, OutRes, InReq, InRes]:
        """Change the errors of everything inside."""
        layers = (*self._layers, map_error(function))
        return ServiceBuilder(layers, self._request, self._problems)

    def service(self, inner: Service[InReq, InRes], /) -> Service[OutReq, OutRes]:
        """
        Put the layers around *inner*.

        Raises:
            BuildError: with all that is wrong with the layers added; see `layer`.
        """
        if problems := [*self._problems, *repeated(self._layers)]:
            raise BuildError(THE_STACK, problems)
        built: Any = Stack(*self._layers).layer(inner)
        service: Service[OutReq, OutRes] = built
        return service

    def _misfit(self, layer: object) -> str | None:
        needed = getattr(layer, "request_type", object)
        request = get_origin(self._request) or self._request
        if needed is object or not isinstance(request, type) or issubclass(request, needed):
            return None
        return (
            f"{layer!r} needs {needed.__name__} requests, got {self._request!r}; "
            "use it around tasks (a worker's stack or a storage's 'layers')"
        )

    def __repr__(self) -> str:
        """Show the layers, outermost first."""
        return f"ServiceBuilder({', '.join(map(repr, self._layers))})"
