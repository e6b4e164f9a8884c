"""
The same layers around calls that are no tasks: requests to a server that often fails.

No storage and no worker: `ServiceBuilder` puts the layers around an async
function. Run it with ``python -m examples.http_calls``; the server runs in
the program itself, on the loopback interface.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import attrs
from tenacity import retry_if_exception_type, stop_after_attempt, wait_fixed

from layered import (
    ConcurrencyLimitLayer,
    Middleware,
    RetryLayer,
    Service,
    ServiceBuilder,
    TimeoutLayer,
    service_fn,
)


@attrs.frozen
class Get:
    """A request."""

    port: int
    path: str


@attrs.frozen
class Response:
    """What came back."""

    status: int
    body: str


class Unavailable(Exception):
    """The server answered 5xx: another try may succeed."""


async def fetch(request: Get) -> Response:
    """Make one request, on a connection of its own."""
    async with await anyio.connect_tcp("127.0.0.1", request.port) as stream:
        head = f"GET {request.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        await stream.send(head.encode())
        received = b"".join([chunk async for chunk in stream])
    head, _, body = received.decode().partition("\r\n\r\n")
    return Response(int(head.split()[1]), body)


def body_of(response: Response) -> str:
    """Take the part of a response that callers want."""
    return response.body


class RaiseForStatus(Middleware[Get, Response]):
    """Makes an error of an answer, so that the layers outside see one."""

    async def call(self, request: Get, /) -> Response:
        """Call, and look at the status."""
        response = await self.inner.call(request)
        if response.status >= 500:
            message = f"{request.path}: {response.status}"
            raise Unavailable(message)
        return response


def client(port: int) -> Service[str, str]:
    """Make a service from a path to a body: at most 4 requests at once, 3 tries of 0.5 s each."""
    policy = RetryLayer(
        stop=stop_after_attempt(3),
        wait=wait_fixed(0.05),
        retry=retry_if_exception_type((Unavailable, TimeoutError, OSError)),
    )
    return (
        ServiceBuilder.of(str, str)
        .layer(ConcurrencyLimitLayer(4))
        .map_request(lambda path: Get(port, path))
        .map_response(body_of)
        .layer(policy)
        .layer(TimeoutLayer(0.5))
        .layer(RaiseForStatus)
        .service(service_fn(fetch))
    )


@asynccontextmanager
async def flaky_server() -> AsyncIterator[tuple[int, Counter[str]]]:
    """
    Serve pages of which each fails at the first try; /slow hangs then, /broken fails always.

    Answers the port, and how often each page was asked for.
    """
    tries: Counter[str] = Counter()

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            path = (await stream.receive()).decode().split()[1]
            tries[path] += 1
            fails = path == "/broken" or tries[path] == 1
            if path == "/slow" and fails:
                await anyio.sleep_forever()
            status = "503 Unavailable" if fails else "200 OK"
            await stream.send(f"HTTP/1.1 {status}\r\n\r\nthis is {path}".encode())

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(anyio.abc.SocketAttribute.local_port), tries  # noqa: S610 - not Django
        tasks.cancel_scope.cancel()


async def main() -> None:
    """Get ten pages at once, one that hangs at first, and one that never comes."""
    async with flaky_server() as (port, tries):
        service = client(port)

        async def show(path: str) -> None:
            try:
                print(f"{path}: {await service.call(path)}, tries: {tries[path]}")
            except Unavailable as error:
                print(f"gave up on {error}, tries: {tries[path]}")

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(show, f"/{number}")
        await show("/slow")
        await show("/broken")


if __name__ == "__main__":
    anyio.run(main)
