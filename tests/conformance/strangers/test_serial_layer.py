"""A stranger's layer: one file, and one line that checks it."""

from typing import Any

import anyio

from layered import Middleware, Service
from layered.testing import check_layer


class Serial(Middleware[Any, Any]):
    """Lets one call run at a time."""

    def __init__(self, inner: Service[Any, Any], /) -> None:
        super().__init__(inner)
        self.lock = anyio.Lock()
        self.freed = anyio.Event()

    async def call(self, request: Any, /) -> Any:
        async with self.lock:
            try:
                return await self.inner.call(request)
            finally:
                self.freed.set()
                self.freed = anyio.Event()

    async def ready(self) -> None:
        while self.lock.locked():
            await self.freed.wait()
        await self.inner.ready()

    def capacity(self) -> int:
        return 0 if self.lock.locked() else min(1, self.inner.capacity())


def test_serial_is_a_layer() -> None:
    """It keeps all the rules of layers."""
    check_layer(Serial)
