"""The inner services and the tasks that tests of layers are made with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import anyio

from layered.service import Service
from layered.task import Draft, Fence, Lease, Run, Task


class Worker(NamedTuple):
    """As much of a worker as a run knows."""

    name: str = "worker"
    owner: str = "worker/host/1/abc"


def claimed(
    *,
    attempt: int = 1,
    max_attempts: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Task[str]:
    """Make a task as a worker claims it."""
    lease = Lease(
        fence=Fence("0199aa00-0000-7000-8000-000000000001", 1, b"c" * 16),
        queue="emails",
        name="Email",
        payload=b'"secret"',
        codec="json",
        version=1,
        metadata=metadata or {},
        priority=5,
        attempt=attempt,
        max_attempts=max_attempts,
        lost=0,
        due_at=0,
        created_at=0,
    )
    return Task("secret", Run(lease, Worker()))


def pushed(metadata: Mapping[str, str] | None = None) -> Task[str]:
    """Make a task as it goes through the stack around a push."""
    own = {} if metadata is None else metadata
    return Task("secret", Run(Draft("id-1", "emails", "Email", b"", metadata=own)))


class Scripted(Service[Any, Any]):
    """
    Plays a script: each call takes the next line.

    An exception is raised, anything else returned; the last line stays.
    """

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.at: list[float] = []
        """When it was called, by the loop's clock."""
        self.attempts: list[int] = []
        """What the task said of its attempt, where it was one."""

    @property
    def runs(self) -> int:
        """Number of calls so far."""
        return len(self.at)

    async def call(self, request: Any, /) -> Any:
        self.at.append(anyio.current_time())
        if isinstance(request, Task):
            self.attempts.append(request.attempt)
        line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(line, BaseException):
            raise line
        return line


class Held(Service[Any, Any]):
    """Holds each call until the test lets it go; `active` are those being held."""

    def __init__(self) -> None:
        self.active: list[Any] = []
        self.peak = 0
        self._outcomes: dict[Any, tuple[anyio.Event, list[object]]] = {}

    async def call(self, request: Any, /) -> Any:
        event, outcome = self._outcomes[request] = (anyio.Event(), [])
        self.active.append(request)
        self.peak = max(self.peak, len(self.active))
        try:
            await event.wait()
        finally:
            self.active.remove(request)
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def finish(self, request: Any, outcome: object = None) -> None:
        """Let the call of *request* end with a value, or an error to raise."""
        event, script = self._outcomes[request]
        script.append(outcome)
        event.set()


class Sleepy(Service[float, str]):
    """Sleeps as many seconds as asked for; remembers which requests were cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[float] = []

    async def call(self, request: float, /) -> str:
        try:
            await anyio.sleep(request)
        except BaseException:
            self.cancelled.append(request)
            raise
        return f"slept {request:g}"


async def run(service: Service[Any, Any], request: object) -> None:
    """Call *service* in a task of its own."""
    await service.call(request)
