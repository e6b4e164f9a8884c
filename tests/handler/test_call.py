"""What may be a handler, and how its parameters are filled."""

import functools
import linecache
import sys
import traceback
from collections.abc import Awaitable, Mapping
from typing import Annotated, Any, Protocol, TypeVar

import anyio
import attrs
import pytest

from layered import Service
from layered.extractors import Attempt, Data, Metadata, TaskId
from layered.handler import Injected
from layered.service.layer import is_service
from layered.task import Kind, Task
from tests.handler.parts import STATE, Email, Sms, State, called, compiled, make_task, problems_of


async def test_handler_gets_the_arguments_and_every_extracted_value() -> None:
    """The first parameter is the task's arguments; the others are filled by their types."""

    async def send(
        email: Email, state: Data[State], attempt: Attempt, task_id: TaskId, meta: Metadata
    ) -> object:
        return email, state, attempt, task_id, meta

    task = make_task(Email("ada"), attempt=3, metadata={"a": "b"})

    assert await called(send, STATE, task=task) == (Email("ada"), STATE, 3, "0190-id", {"a": "b"})


async def test_attempt_is_that_of_the_ledger_at_the_call() -> None:
    """A rerun inside one lease sees the number that was charged for it."""

    async def send(email: Email, attempt: Attempt) -> int:
        return attempt

    handler, task = compiled(send), make_task(attempt=1)

    first = await handler.service.call(task)
    task.run.attempt += 1

    assert (first, await handler.service.call(task)) == (1, 2)


async def test_handler_gets_the_whole_task() -> None:
    """A parameter of type Task, with or without its type, is the task itself."""

    async def send(email: Email, plain: Task, typed: Task[Email]) -> bool:  # type: ignore[type-arg]  # on purpose
        return plain is typed is task

    task = make_task()

    assert await called(send, task=task) is True


async def test_keyword_only_parameters_are_filled() -> None:
    """Position or keyword: extractors serve both."""

    async def send(
        email: Email, attempt: Attempt, *, state: Data[State], task_id: TaskId
    ) -> object:
        return email, attempt, state, task_id

    expected = (Email("ada@example.org"), 1, STATE, "0190-id")

    assert await called(send, STATE) == expected


async def test_parameter_without_extractor_keeps_its_default() -> None:
    """Those after it are still filled, by keyword."""

    async def send(
        email: Email, limit: int = 5, attempt: Attempt = 0, *, more: str = "m"
    ) -> object:
        return limit, attempt, more

    assert await called(send) == (5, 1, "m")


async def test_default_is_left_to_the_function() -> None:
    """It is not passed, so a decorator that knows a better one can tell."""

    async def send(email: Email, limit: int = 5) -> int:
        return limit

    @functools.wraps(send)
    async def around(*args: Any, **kwargs: Any) -> int:
        return await send(*args, **{"limit": 9, **kwargs})

    assert await called(around) == 9


async def test_positional_only_parameters_are_filled_and_keep_defaults() -> None:
    """What cannot be left out by keyword gets its default by position."""

    async def send(email: Email, limit: int = 5, attempt: Attempt = 0, /) -> object:
        return limit, attempt

    assert await called(send) == (5, 1)


async def test_star_parameters_stay_empty() -> None:
    """Nothing says what they want."""

    async def send(email: Email, *args: object, attempt: Attempt, **kwargs: object) -> object:
        return args, attempt, kwargs

    assert await called(send) == ((), 1, {})


async def test_unreadable_annotation_of_a_parameter_with_default_does_no_harm() -> None:
    """A default is as good as no annotation."""

    async def send(email: Email, limit: "Unknown" = 5) -> int:  # type: ignore[name-defined]  # noqa: F821 - on purpose
        result: int = limit
        return result

    assert await called(send) == 5


class Tenant:
    def __init__(self, name: str | None) -> None:
        self.name = name

    @classmethod
    def from_task(cls, task: Task[Any], /) -> "Tenant":
        return cls(task.metadata.get("tenant"))


class LazyTenant(Tenant):
    @classmethod
    async def from_task(cls, task: Task[Any], /) -> "LazyTenant":  # type: ignore[override]  # on purpose
        return cls(task.metadata.get("tenant"))


async def test_types_with_from_task_make_themselves() -> None:
    """The classmethod may be sync or async, in any position."""

    async def send(email: Email, a: Tenant, *, b: LazyTenant) -> object:
        return type(a), a.name, type(b), b.name

    task = make_task(metadata={"tenant": "t1"})

    assert await called(send, task=task) == (Tenant, "t1", LazyTenant, "t1")


class Mailer:
    async def send(self, email: Email, attempt: Attempt) -> object:
        return email, attempt

    async def __call__(self, email: Email, attempt: Attempt) -> object:
        return email, attempt


async def three(prefix: str, email: Email, attempt: Attempt, state: Data[State]) -> object:
    """Take a parameter that a partial fills."""
    return email, attempt


def keyword_bound(email: Email, attempt: Attempt, limit: int) -> object:
    """Take a parameter that a partial fills, in a thread."""
    return email, attempt


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(Mailer().send, id="bound method"),
        pytest.param(Mailer(), id="callable object"),
        pytest.param(functools.partial(three, "p", state=STATE), id="partial"),
        pytest.param(functools.partial(functools.partial(three, "p"), state=STATE), id="nested"),
        pytest.param(functools.partial(keyword_bound, limit=3), id="partial of a plain function"),
    ],
)
async def test_callable_is_a_handler(handler: object) -> None:
    """Whatever can be called with the arguments, and is not a class."""
    assert await called(handler) == (Email("ada@example.org"), 1)


async def test_decorated_function_is_filled_by_what_it_wraps() -> None:
    """`functools.wraps` keeps the signature that extractors read."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        async def around(*args: Any, **kwargs: Any) -> object:
            return "around", await function(*args, **kwargs)

        return around

    @decorate
    async def send(email: Email, attempt: Attempt, *, state: Data[State]) -> object:
        return attempt, state

    assert await called(send, STATE) == ("around", (1, STATE))


async def test_handler_that_finishes_although_cancelled_keeps_its_result() -> None:
    """Only a thread's result is looked at again after a cancellation."""

    async def send(email: Email) -> str:
        scope.cancel()
        return email.to

    results = []
    with anyio.CancelScope() as scope:
        results.append(await called(send))

    assert results == ["ada@example.org"]


async def test_lambda_is_a_handler() -> None:
    """Its un-annotated first parameter takes anything; it runs in a thread."""
    assert await called(lambda email: email.to) == "ada@example.org"


async def test_annotations_are_found_in_the_closure() -> None:
    """A local class is known where the function itself refers to it."""

    @attrs.frozen
    class Local:
        name: str

    async def send(email: Email, local: "Data[Local]") -> bool:
        return isinstance(local, Local)

    assert await called(send, Local("x")) is True


class Base:
    pass


@attrs.frozen
class Derived(Base):
    name: str = "d"


class Named(Protocol):
    name: str


T = TypeVar("T")
Alias = Annotated[Email, "described"]


async def takes_object(args: object) -> None:
    """Take any arguments."""


async def takes_any(args: Any) -> None:
    """Take any arguments."""


async def takes_unannotated(args) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - on purpose
    """Take any arguments."""


async def takes_variable(args: T) -> T:
    """Take any arguments."""
    return args


async def takes_base(args: Base) -> None:
    """Take a base class."""


async def takes_protocol(args: Named) -> None:
    """Take a Protocol that is not for the run time."""


async def takes_union(args: Email | Sms) -> None:
    """Take a union."""


async def takes_float(args: float) -> None:
    """Take what checkers let an int pass for."""


async def takes_mapping(args: Mapping[str, object]) -> None:
    """Take a generic base."""


async def takes_list(args: list[Any]) -> None:
    """Take a list of anything."""


async def takes_annotated(args: Alias) -> None:
    """Take a type with metadata."""


@pytest.mark.parametrize(
    ("handler", "args"),
    [
        pytest.param(takes_object, Email, id="object"),
        pytest.param(takes_any, Email, id="Any"),
        pytest.param(takes_unannotated, Email, id="nothing"),
        pytest.param(takes_variable, Email, id="type variable"),
        pytest.param(takes_base, Derived, id="base class"),
        pytest.param(takes_protocol, Derived, id="protocol"),
        pytest.param(takes_union, Email, id="union of more"),
        pytest.param(takes_union, Email | Sms, id="union"),
        pytest.param(takes_object, Email | Sms, id="object for a union"),
        pytest.param(takes_float, int, id="float for int"),
        pytest.param(takes_mapping, dict[str, int], id="generic base"),
        pytest.param(takes_list, Kind(list[int], name="numbers"), id="list of Any"),
        pytest.param(takes_annotated, Email, id="Annotated"),
    ],
)
def test_first_parameter_may_take_more_than_the_storage_holds(handler: object, args: Any) -> None:
    """The check is contravariant, as type checkers' is."""
    assert compiled(handler, args=args).names


class Counting(Service[Task[Email], str]):
    def __init__(self) -> None:
        self.room = 2
        self.asked = 0

    async def call(self, request: Task[Email], /) -> str:
        return f"served {request.args.to}"

    async def ready(self) -> None:
        self.asked += 1

    def capacity(self) -> int:
        return self.room


async def test_service_keeps_its_own_readiness_and_capacity() -> None:
    """A service as a handler holds back the fetch."""
    service = Counting()
    handler = compiled(service)

    await handler.service.ready()
    service.room = 7

    assert service.asked == 1
    assert handler.service.capacity() == 7
    assert handler.capacities() == {"Email": 7}
    assert await handler.service.call(make_task()) == "served ada@example.org"


class Loose:
    async def call(self, *requests: object) -> object:
        return requests[0]


class Untyped:
    async def call(self, request, limit=5, **more):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN201 - on purpose
        return request


class ForAny:
    async def call(self, request: Task[Any]) -> object:
        return request


class ForUnknown:
    async def call(self, request: "Unknown") -> object:  # type: ignore[name-defined]  # noqa: F821 - on purpose
        return request


@pytest.mark.parametrize("service", [Loose(), Untyped(), ForAny(), ForUnknown()])
async def test_call_of_a_service_may_take_more_than_the_task(service: object) -> None:
    """As long as it can be called with the task alone."""
    task = make_task()

    assert await called(service, task=task) is task


class Callable:
    call = None
    capacity = "a word that means something else here"
    ready = False

    async def __call__(self, email: Email) -> str:
        return email.to


async def test_attributes_of_a_callable_object_are_its_own() -> None:
    """Only a service, an object with `call`, has readiness and capacity."""
    handler = compiled(Callable())

    await handler.service.ready()

    assert handler.service.capacity() == sys.maxsize


class OnlyCall:
    def call(self, request: Task[Email], /) -> Awaitable[str]:
        return self.later(request)

    async def later(self, request: Task[Email]) -> str:
        return request.args.to


async def test_object_with_call_alone_is_always_ready() -> None:
    """`HasCall` is adapted."""
    handler = compiled(OnlyCall())

    await handler.service.ready()

    assert is_service(handler.service)
    assert handler.capacities() == {"Email": sys.maxsize}
    assert await handler.service.call(make_task()) == "ada@example.org"


async def test_handler_names_its_tasks_its_place_and_its_parameters() -> None:
    """What `explain` shows."""

    async def send(
        email: Email, state: Data[State], *, attempt: Attempt, task: Task[Email]
    ) -> None:
        del email, state, attempt, task

    handler = compiled(send, STATE, args=Email)

    assert handler.names == ["Email"]
    assert handler.description == f"send (test_call.py:{send.__code__.co_firstlineno})"
    assert repr(handler.service) == handler.description
    assert [(each.owner, each.parameter, each.source) for each in handler.injected] == [
        ("send", "state", "WorkerBuilder.data"),
        ("send", "attempt", "task.attempt"),
        ("send", "task", "task"),
    ]
    assert isinstance(handler.injected[0], Injected)


async def test_traceback_shows_the_compiled_call() -> None:
    """The generated source is there for people, and is kept once for equal calls."""

    async def fail(email: Email) -> None:
        raise ValueError(email.to)

    handlers = [compiled(fail) for _ in range(3)]

    with pytest.raises(ValueError, match="ada") as caught:
        await handlers[0].service.call(make_task())

    assert "result = await fail_0(task.args)" in "".join(traceback.format_tb(caught.tb))
    assert len({name for name in linecache.cache if name.startswith("<layered handler fail ")}) == 1


async def test_name_that_its_function_has_not_bound_yet_is_not_known() -> None:
    """An empty cell of a closure is no type, and no error of its own."""

    async def send(email: Email, local: "Data[Late]") -> bool:
        return isinstance(local, Late)

    problems = problems_of(send)

    class Late:
        pass

    assert ["the name 'Late' is not known" in problem for problem in problems] == [True]
    assert await called(send, Late()) is True


async def test_function_written_in_c_is_a_handler() -> None:
    """It has no place that a message could name."""
    handler = compiled(len, args=Kind(list[int], name="numbers"))

    assert handler.description == "len"
    assert await handler.service.call(make_task([1, 2, 3])) == 3
