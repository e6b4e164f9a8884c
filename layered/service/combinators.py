"""Small services made of functions: `service_fn`, `map_request`, `map_response`, `map_error`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from layered.service.contract import Middleware, Service, Transform
from layered.service.layer import name_of

Req = TypeVar("Req")
Res = TypeVar("Res")
OutReq = TypeVar("OutReq")
OutRes = TypeVar("OutRes")
InReq = TypeVar("InReq")
InRes = TypeVar("InRes")


class ServiceFn(Service[Req, Res], Generic[Req, Res]):
    """The service that calls an async function; made by `service_fn`."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Req], Awaitable[Res]], /) -> None:
        self.function = function

    def call(self, request: Req, /) -> Awaitable[Res]:
        """Call the function with *request*."""
        return self.function(request)

    def __repr__(self) -> str:
        """Name the function."""
        return f"service_fn({name_of(self.function)})"


def service_fn(function: Callable[[Req], Awaitable[Res]], /) -> ServiceFn[Req, Res]:
    """Make a service of an async function of one argument: always ready, unlimited."""
    return ServiceFn(function)


class MapRequest(Transform[OutReq, Res, InReq, Res], Generic[OutReq, InReq, Res]):
    """Changes the request before the inner service sees it; made by `map_request`."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[OutReq], InReq], inner: Service[InReq, Res], /) -> None:
        super().__init__(inner)
        self.function = function

    def call(self, request: OutReq, /) -> Awaitable[Res]:
        """Call the inner service with the changed request."""
        return self.inner.call(self.function(request))


class MapResponse(Transform[Req, OutRes, Req, InRes], Generic[Req, OutRes, InRes]):
    """Changes the inner service's response; made by `map_response`."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[InRes], OutRes], inner: Service[Req, InRes], /) -> None:
        super().__init__(inner)
        self.function = function

    async def call(self, request: Req, /) -> OutRes:
        """Answer the changed response."""
        return self.function(await self.inner.call(request))


class MapError(Middleware[Req, Res], Generic[Req, Res]):
    """Changes the error that the inner service raises; made by `map_error`."""

    __slots__ = ("function",)

    def __init__(
        self, function: Callable[[Exception], Exception], inner: Service[Req, Res], /
    ) -> None:
        super().__init__(inner)
        self.function = function

    async def call(self, request: Req, /) -> Res:
        """Raise the changed error; cancellation passes unchanged."""
        try:
            return await self.inner.call(request)
        except Exception as error:
            changed = self.function(error)
            if changed is error:
                raise
            raise changed from error


def map_request(
    function: Callable[[OutReq], InReq], /
) -> Callable[[Service[InReq, Res]], Service[OutReq, Res]]:
    """
    Make a layer that changes the request with *function*.

    An error of *function* is raised at the call, before the inner service
    is touched.
    """

    def layer(inner: Service[InReq, Res], /) -> Service[OutReq, Res]:
        return MapRequest(function, inner)

    layer.__qualname__ = f"map_request({name_of(function)})"
    return layer


def map_response(
    function: Callable[[InRes], OutRes], /
) -> Callable[[Service[Req, InRes]], Service[Req, OutRes]]:
    """Make a layer that changes the response with *function*."""

    def layer(inner: Service[Req, InRes], /) -> Service[Req, OutRes]:
        return MapResponse(function, inner)

    layer.__qualname__ = f"map_response({name_of(function)})"
    return layer


def map_error(
    function: Callable[[Exception], Exception], /
) -> Callable[[Service[Req, Res]], Service[Req, Res]]:
    """
    Make a layer that changes errors with *function*.

    The new error is raised from the old one; answering the old one raises
    it as it was.
    """

    def layer(inner: Service[Req, Res], /) -> Service[Req, Res]:
        return MapError(function, inner)

    layer.__qualname__ = f"map_error({name_of(function)})"
    return layer
