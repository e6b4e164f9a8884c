"""Stacks around calls that are no tasks: fully typed, outermost first."""

from typing import assert_type

import attrs

from layered import (
    CatchLayer,
    ConcurrencyLimitLayer,
    Middleware,
    Permits,
    RetryLayer,
    Service,
    ServiceBuilder,
    TimeoutLayer,
    Transform,
    service_fn,
)


@attrs.frozen
class Request:
    path: str


@attrs.frozen
class Response:
    status: int
    body: bytes


class Tag(Middleware[Request, Response]):
    """Of fixed types, so it fits where they are and nowhere else."""

    async def call(self, request: Request, /) -> Response:
        return await self.inner.call(attrs.evolve(request, path=f"/v1{request.path}"))


class Json(Transform[str, int, Request, Response]):
    """Changes both types."""

    async def call(self, request: str, /) -> int:
        return (await self.inner.call(Request(request))).status


async def fetch(request: Request) -> Response:
    return Response(200, request.path.encode())


async def main() -> None:
    service = (
        ServiceBuilder.of(str, bytes)
        .layer(ConcurrencyLimitLayer(Permits(5)))
        .map_request(Request)
        .map_response(body)
        .layer(RetryLayer(3))
        .layer(TimeoutLayer(2.0))
        .layer(Tag)
        .layer(CatchLayer(KeyError, into=OSError))
        .map_error(lambda error: OSError(str(error)))
        .service(service_fn(fetch))
    )
    assert_type(service, Service[str, bytes])
    assert_type(await service.call("/"), bytes)

    json: Service[str, int] = Json(service_fn(fetch))
    assert_type(await json.call("/"), int)


def body(response: Response) -> bytes:
    return response.body
