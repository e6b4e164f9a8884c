"""`call`: a handler as a worker's stack sees it."""

import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import attrs
import pytest

from layered import (
    Abort,
    Attempt,
    BuildError,
    Data,
    Depends,
    Metadata,
    Router,
    Service,
    Task,
    TaskId,
    WorkerContext,
    WrongState,
)
from layered.testing import call, make_task


@attrs.frozen
class Email:
    to: str = "ada@example.org"


@attrs.frozen
class State:
    host: str = "mail"


async def test_call_fills_parameters_as_a_worker_does() -> None:
    """Data, the attempt, and what the task says."""

    async def send(
        email: Email, state: Data[State], attempt: Attempt, meta: Metadata, id_: TaskId
    ) -> tuple[object, ...]:
        return email.to, state.host, attempt, dict(meta), id_

    task = make_task(Email(), attempt=2, metadata={"k": "v"})

    answer = await call(send, Email("bob"), data=[State("smtp")], task=task)

    assert answer == ("bob", "smtp", 2, {"k": "v"}, task.id)


async def test_call_makes_a_task_of_its_own() -> None:
    """With the attempt that it is told."""

    async def send(email: Email, task: Task[Email]) -> tuple[int, bool, str]:
        return task.attempt, task.claimed, task.name

    assert await call(send, Email()) == (1, True, "Email")
    assert await call(send, Email(), attempt=3) == (3, True, "Email")


async def test_call_sets_dependencies_up_and_down_each_time() -> None:
    """Those of a call and those of a worker."""
    seen = []

    async def connection() -> AsyncIterator[str]:
        seen.append("up")
        yield "connection"
        await anyio.lowlevel.checkpoint()
        seen.append("down")

    async def send(
        email: Email,
        one: Annotated[str, Depends(connection)],
        two: Annotated[str, Depends(connection, scope="worker")],
    ) -> None:
        seen.append(one + two)

    await call(send, Email())

    assert seen == ["up", "up", "connectionconnection", "down", "down"]


async def test_call_raises_what_layers_would_see() -> None:
    """Errors as they are; a returned outcome is raised."""
    error = ValueError("no")

    async def fail(email: Email) -> None:
        raise error

    async def give_up(email: Email) -> Abort:
        return Abort("never")

    with pytest.raises(ValueError, match="no") as caught:
        await call(fail, Email())
    with pytest.raises(Abort, match="never"):
        await call(give_up, Email())
    assert caught.value is error


async def test_call_runs_a_plain_function_in_a_thread() -> None:
    """As a worker does."""

    def send(email: Email) -> int:
        return threading.get_ident()

    assert await call(send, Email()) != threading.get_ident()


async def test_call_takes_services_and_routers() -> None:
    """Whatever a worker is built with."""

    class Sender(Service[Task[Email], str]):
        async def call(self, request: Task[Email], /) -> str:
            return request.args.to

    async def square(number: int) -> int:
        return number * number

    async def add(numbers: list[int]) -> int:
        return sum(numbers)

    routes: Router[Any] = Router().route(int, square).route(Email, Sender())
    sums: Router[Any] = Router().route(list[int], add)

    assert await call(Sender(), Email("bob")) == "bob"
    assert await call(routes, 4) == 16
    assert await call(routes, Email("bob")) == "bob"
    assert await call(sums, [1, 2], task=make_task([3])) == 3


async def test_call_refuses_arguments_that_a_router_has_no_branch_for() -> None:
    """As a worker would, whose storage holds them."""

    async def square(number: int) -> int:
        return number * number

    routes: Router[Any] = Router().route(int, square)

    with pytest.raises(BuildError, match="no branch for Email"):
        await call(routes, Email())


async def test_call_refuses_options_that_it_would_not_obey() -> None:
    """A misspelt one, and two that say the same thing differently."""

    async def send(email: Email, attempt: Attempt) -> int:
        return attempt

    misspelt: Any = {"tries": 2}

    with pytest.raises(TypeError, match="tries"):
        await call(send, Email(), **misspelt)
    with pytest.raises(TypeError, match=r"'attempt' and 'task'.*make_task\(args, attempt=2\)"):
        await call(send, Email(), task=make_task(Email()), attempt=2)


async def test_call_names_the_task_as_a_storage_would() -> None:
    """Also where the type's own name says less."""

    async def add(numbers: list[int], task: Task[list[int]]) -> str:
        return task.name

    assert await call(add, [1, 2], form=list[int]) == "list[int]"


async def test_call_takes_the_form_of_arguments_that_their_type_does_not_tell() -> None:
    """A list does not know what it is a list of."""

    async def add(numbers: list[int]) -> int:
        return sum(numbers)

    assert await call(add, [1, 2], form=list[int]) == 3


async def test_call_refuses_what_a_worker_would_refuse() -> None:
    """With the way out."""

    async def send(email: Email, state: Data[State]) -> None: ...

    with pytest.raises(BuildError, match=r"WorkerBuilder\.data\(State"):
        await call(send, Email())


async def test_call_has_no_worker_to_give() -> None:
    """A handler that asks for one is told so."""

    async def send(email: Email, ctx: WorkerContext) -> None: ...

    with pytest.raises(WrongState, match="claimed by no worker"):
        await call(send, Email())
