"""
Everything that can be wrong with a handler, and the exact words that say so.

The documentation lists these messages; each stands here once, with a
handler that produces it. ``{}`` is the handler's place, as in ``app.py:12``.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import attrs
import pytest

from layered.extractors import Attempt, Data, Depends
from layered.handler import Router
from layered.handler.signature import MISSING
from layered.task import Kind, Task
from tests.handler.parts import STATE, Email, Sms, State, problems_of


@attrs.frozen
class Db:
    dsn: str = "db"


class FirstDb(Db):
    pass


class SecondDb(Db):
    pass


def where(thing: Any) -> str:
    """Return the place of a function, as messages give it."""
    return f"test_rejected.py:{thing.__code__.co_firstlineno}"


# What may be a handler


async def no_parameter() -> None:
    """Take nothing."""


async def by_keyword(*, email: Email) -> None:
    """Take the arguments by keyword."""


async def by_stars(*args: object, **kwargs: object) -> None:
    """Take anything."""


async def by_double_stars(**kwargs: object) -> None:
    """Take anything."""


async def takes_sms(sms: Sms) -> None:
    """Take something else."""


async def takes_task(task: Task[Email]) -> None:
    """Take the task first."""


async def takes_any_task(task: Task) -> None:  # type: ignore[type-arg]  # on purpose
    """Take the task first."""


async def takes_list(numbers: list[str]) -> None:
    """Take another generic."""


async def takes_local(email: "Unknown") -> None:  # type: ignore[name-defined]  # noqa: F821 - on purpose
    """Take a type that is nowhere."""


async def takes_broken(email: "Email.nothing") -> None:  # type: ignore[name-defined]  # on purpose
    """Take what is no expression."""


def generator(email: Email) -> Iterator[int]:
    """Yield."""
    yield 1


async def async_generator(email: Email) -> AsyncIterator[int]:
    """Yield."""
    yield 1


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate without awaiting."""

    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return around


@traced
async def wrapped(email: Email) -> None:
    """Be wrapped by a plain function."""


class ServesArgs:
    async def call(self, request: Email) -> None:
        """Take the arguments, not the task."""


class ServesSms:
    async def call(self, request: Task[Sms]) -> None:
        """Take tasks of another type."""


class ServesMore:
    async def call(self, request: Task[Email], state: Data[State], limit: int = 5) -> None:
        """Want something besides."""


class ServesNothing:
    async def call(self) -> None:
        """Take nothing."""


class ServesKeyword:
    async def call(self, *, request: Task[Email]) -> None:
        """Take the task by keyword only."""


class ServesStream:
    async def call(self, request: Task[Email]) -> AsyncIterator[int]:
        """Yield."""
        yield 1


ARGUMENTS = "give it a first parameter for the task's arguments, such as 'args: Email'"

FUNCTIONS = [
    pytest.param(
        no_parameter,
        f"handler 'no_parameter' ({{}}) has no parameters; {ARGUMENTS}",
        id="no parameter",
    ),
    pytest.param(
        by_keyword,
        f"handler 'by_keyword' ({{}}) has no positional parameter; {ARGUMENTS}",
        id="keyword-only first parameter",
    ),
    pytest.param(
        by_stars,
        f"handler 'by_stars' ({{}}) takes *args first, as functions without functools.wraps do; "
        f"{ARGUMENTS}",
        id="*args first",
    ),
    pytest.param(
        by_double_stars,
        "handler 'by_double_stars' ({}) takes **kwargs first, as functions without functools.wraps "
        f"do; {ARGUMENTS}",
        id="**kwargs first",
    ),
    pytest.param(
        takes_sms,
        "handler 'takes_sms' ({}) takes Sms first ('sms'), the storage holds Email; let it take "
        "that too, or use a Router",
        id="other arguments",
    ),
    pytest.param(
        takes_task,
        "handler 'takes_task' ({}) takes Task[Email] first ('task'), where the task's arguments "
        "come; put a parameter of type Email before it",
        id="task first",
    ),
    pytest.param(
        takes_any_task,
        "handler 'takes_any_task' ({}) takes Task first ('task'), where the task's arguments come; "
        "put a parameter of type Email before it",
        id="any task first",
    ),
    pytest.param(
        takes_local,
        "handler 'takes_local' ({}) has the annotation 'Unknown' that cannot be read: the name "
        "'Unknown' is not known when the worker is built; define or import it at module level, not "
        "inside a function or under 'if TYPE_CHECKING:'",
        id="unknown name",
    ),
    pytest.param(
        takes_broken,
        "handler 'takes_broken' ({}) has the annotation 'Email.nothing' that cannot be read: it "
        "raises AttributeError(\"type object 'Email' has no attribute 'nothing'\"); write a type",
        id="annotation that raises",
    ),
    pytest.param(
        generator,
        "handler 'generator' ({}) is a generator, which has no result; return one value instead of "
        "yielding several",
        id="generator",
    ),
    pytest.param(
        async_generator,
        "handler 'async_generator' ({}) is an async generator, which has no result; return one "
        "value instead of yielding several",
        id="async generator",
    ),
    pytest.param(
        wrapped,
        "handler 'wrapped' ({}) is a plain function around an async one, so nothing would await "
        "it; make the function around it an 'async def'",
        id="decorator that does not await",
    ),
]

SERVICES = [
    pytest.param(
        ServesArgs(),
        "handler 'ServesArgs' ({}) has a 'call' that takes Email, but services get the whole task; "
        "write Task[Email] and use 'task.args'",
        id="arguments",
    ),
    pytest.param(
        ServesSms(),
        "handler 'ServesSms' ({}) takes Task[Sms], the storage holds Email; let it take that too, "
        "or use a Router",
        id="other task",
    ),
    pytest.param(
        ServesMore(),
        "handler 'ServesMore' ({}) has a 'call' that needs 'state', but services get the task "
        "alone; read it from the task, keep it in the object, or make the handler a function",
        id="further parameter",
    ),
    pytest.param(
        ServesNothing(),
        "handler 'ServesNothing' ({}) has a 'call' without a parameter for the task; write "
        "call(self, task)",
        id="no parameter",
    ),
    pytest.param(
        ServesKeyword(),
        "handler 'ServesKeyword' ({}) has a 'call' without a parameter for the task; write "
        "call(self, task)",
        id="keyword only",
    ),
    pytest.param(
        ServesStream(),
        "handler 'ServesStream' ({}) is an async generator, which has no result; return one value "
        "instead of yielding several",
        id="async generator",
    ),
]


@pytest.mark.parametrize(("handler", "message"), FUNCTIONS)
def test_function_is_refused(handler: Any, message: str) -> None:
    """What a function must look like to be a handler."""
    unwrapped = inspect.unwrap(handler)

    assert problems_of(handler) == [message.format(where(unwrapped))]


@pytest.mark.parametrize(("handler", "message"), SERVICES)
def test_service_is_refused(handler: Any, message: str) -> None:
    """What a service must look like to be a handler."""
    assert problems_of(handler) == [message.format(where(handler.call))]


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        pytest.param(
            ServesArgs,
            "handler 'ServesArgs' is a class; pass an object: ServesArgs(...)",
            id="class",
        ),
        pytest.param(
            42,
            "handler 42 cannot be called and has no 'call' method; pass a function or a service",
            id="number",
        ),
        pytest.param(
            max,
            "handler 'max' has no signature that can be read; call it from a function of your own",
            id="function without signature",
        ),
        pytest.param(
            isinstance,
            "handler 'isinstance' cannot fill parameter 'class_or_tuple': it has no annotation and "
            "no default; annotate it with what it wants, such as Data[State]",
            id="function in no file",
        ),
    ],
)
def test_thing_is_refused(thing: object, message: str) -> None:
    """Not everything is a handler."""
    assert problems_of(thing) == [message]


@pytest.mark.parametrize(
    ("args", "taken"),
    [
        pytest.param(list[int], "list[int]", id="generic"),
        pytest.param(Db, "Db", id="class"),
        pytest.param(int, "int", id="builtin"),
    ],
)
def test_first_parameter_of_another_generic_is_refused(args: Any, taken: str) -> None:
    """Type arguments are looked at where both have them."""
    assert problems_of(takes_list, args=Kind(args, name="numbers")) == [
        (
            f"handler 'takes_list' ({where(takes_list)}) takes list[str] first ('numbers'), the "
            f"storage holds {taken}; let it take that too, or use a Router"
        )
    ]


def test_every_type_that_does_not_fit_is_told() -> None:
    """A storage of several types and a handler of another one."""
    assert len(problems_of(takes_list, args=Email | Sms)) == 2


# What fills the parameters


class NoClassmethod:
    def from_task(self, task: Task[Email]) -> "NoClassmethod":
        return self


class Wrong:
    def source(self, wanted: object) -> str:
        return "no source"

    def __repr__(self) -> str:
        return "Wrong()"


def get_first(second: str) -> str:
    """Need what needs this; see below."""
    return second


def get_second(first: Annotated[str, Depends(get_first)]) -> str:
    """Need what needs this."""
    return first


get_first.__annotations__["second"] = Annotated[str, Depends(get_second)]


@contextmanager
def decorated() -> Iterator[str]:
    """Do what `Depends` does itself."""
    yield "x"


NOWHERE = (
    "the name 'Unknown' is not known when the worker is built; define or import it at module "
    "level, not inside a function or under 'if TYPE_CHECKING:'"
)
EXTRACTOR = "annotate it with an extractor, such as Data[State]"

WANTED = [
    pytest.param(
        Db,
        f"{Db!r} has no 'from_task'; provide it with WorkerBuilder.data(Db(...)) and annotate it "
        "'Data[Db]'",
        id="class",
    ),
    pytest.param(Db | None, f"{Db | None!r} has no 'from_task'; {EXTRACTOR}", id="union"),
    pytest.param(list[int], f"list[int] has no 'from_task'; {EXTRACTOR}", id="generic"),
    pytest.param(
        Literal["a"], f"typing.Literal['a'] has no 'from_task'; {EXTRACTOR}", id="no class"
    ),
    pytest.param(
        MISSING,
        "it has no annotation and no default; annotate it with what it wants, such as Data[State]",
        id="no annotation",
    ),
    pytest.param(
        "Unknown",
        f"its annotation 'Unknown' cannot be read; {NOWHERE}",
        id="unknown name",
    ),
    pytest.param(
        Data[Db],
        f"no data of {Db!r} is provided (provided: State); provide it with "
        "WorkerBuilder.data(Db(...))",
        id="missing data",
    ),
    pytest.param(
        Annotated[Db, Depends],
        "its extractor 'Depends' is a class; write an object: Depends(...)",
        id="class of an extractor",
    ),
    pytest.param(
        Annotated[Db, Wrong()],
        "its extractor Wrong() answered 'no source'; answer a Constant, an Attribute, a Computed "
        "or a Provided",
        id="extractor that answers something else",
    ),
    pytest.param(
        Annotated[State, Depends(decorated), Wrong()],
        "it has 2 extractors, Depends(decorated) and Wrong(); leave one of them",
        id="two extractors",
    ),
    pytest.param(
        NoClassmethod,
        f"the 'from_task' of {NoClassmethod!r} is no classmethod; put @classmethod before it",
        id="from_task that is no classmethod",
    ),
    pytest.param(
        Task[Sms],
        "it wants Task[Sms] and would get Task[Email]; annotate it with Task",
        id="other task",
    ),
    pytest.param(
        Annotated[str, Depends(decorated)],
        "'decorated' is a generator inside a decorator; give Depends the generator itself, "
        "without @contextmanager",
        id="decorated dependency",
    ),
    pytest.param(
        Annotated[str, Depends(max)],
        "<built-in function max> has no signature that can be read; give Depends a Python function",
        id="dependency without signature",
    ),
    pytest.param(
        Annotated[str, Depends(42)],  # type: ignore[arg-type]  # on purpose
        "42 has no signature that can be read; give Depends a Python function",
        id="dependency that cannot be called",
    ),
]


def wanting(annotation: object, default: object = MISSING) -> Any:
    """Make a handler with a parameter 'it'."""

    async def wants(email, it):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - on purpose
        """Want something."""

    wants.__annotations__ = {"email": Email}
    if annotation is not MISSING:
        wants.__annotations__["it"] = annotation
    if default is not MISSING:
        wants.__defaults__ = (default,)
    return wants


@pytest.mark.parametrize(("annotation", "message"), WANTED)
def test_parameter_cannot_be_filled(annotation: object, message: str) -> None:
    """What a further parameter must say."""
    handler = wanting(annotation)

    assert problems_of(handler, STATE) == [
        f"handler 'wants' ({where(handler)}) cannot fill parameter 'it': {message}"
    ]


def test_data_is_refused_when_nothing_is_provided() -> None:
    """The message does not list nothing."""
    handler = wanting(Data[Db])

    assert problems_of(handler) == [
        (
            f"handler 'wants' ({where(handler)}) cannot fill parameter 'it': no data of {Db!r} is "
            "provided (provided: nothing); provide it with WorkerBuilder.data(Db(...))"
        )
    ]


def test_data_is_refused_when_several_values_fit() -> None:
    """Which one is not for chance to decide."""
    handler = wanting(Data[Db])

    assert problems_of(handler, FirstDb(), STATE, SecondDb()) == [
        (
            f"handler 'wants' ({where(handler)}) cannot fill parameter 'it': FirstDb, SecondDb all "
            f"fit {Db!r}; ask for one of them, or let Depends choose"
        )
    ]


def test_extractor_as_a_default_is_refused() -> None:
    """As other frameworks write it; here it would be passed to the handler."""
    handler = wanting(str, Depends(decorated))

    assert problems_of(handler) == [
        (
            f"handler 'wants' ({where(handler)}) cannot fill parameter 'it': its default is "
            "Depends(decorated), which would be passed as it is; write it in the annotation: "
            "Annotated[..., Depends(decorated)]"
        )
    ]


def test_dependencies_in_a_circle_are_refused() -> None:
    """With the path."""
    handler = wanting(Annotated[str, Depends(get_first)])

    assert problems_of(handler) == [
        (
            f"dependency 'get_second' ({where(get_second)}) of handler 'wants' ({where(handler)}) "
            "cannot fill parameter 'first': dependencies need each other in a circle, get_first -> "
            "get_second -> get_first; take one of them out"
        )
    ]


def test_worker_scoped_dependencies_in_a_circle_are_refused() -> None:
    """As those of one attempt."""

    def narcissus(again: str) -> str:
        return again

    narcissus.__annotations__["again"] = Annotated[str, Depends(narcissus, scope="worker")]
    handler = wanting(Annotated[str, Depends(narcissus, scope="worker")])

    assert problems_of(handler) == [
        (
            f"worker-scoped dependency 'narcissus' ({where(narcissus)}) of handler 'wants' "
            f"({where(handler)}) cannot fill parameter 'again': dependencies need each other in a "
            "circle, narcissus -> narcissus; take one of them out"
        )
    ]


def sibling() -> str:
    """Stand beside the circle."""
    return "x"


def lead_in(
    beside: Annotated[str, Depends(sibling)], first: Annotated[str, Depends(get_first)]
) -> str:
    """Lead into the circle."""
    return beside + first


def test_circle_is_told_without_what_leads_to_it() -> None:
    """Only those that need each other, not their siblings nor what needs them."""

    def ring(beside: Annotated[str, Depends(sibling)], again: str) -> str:
        return beside + again

    ring.__annotations__["again"] = Annotated[str, Depends(ring)]
    texts = [problems_of(wanting(Annotated[str, Depends(each)]))[0] for each in (lead_in, ring)]

    assert "circle, get_first -> get_second -> get_first;" in texts[0]
    assert "circle, ring -> ring;" in texts[1]


def per_attempt() -> str:
    """Make something for one run."""
    return "x"


def pool(attempt: Attempt, value: Annotated[str, Depends(per_attempt)]) -> str:
    """Need what belongs to one run."""
    return value


def test_worker_scoped_dependency_cannot_use_what_belongs_to_a_task() -> None:
    """There is no task when it is set up."""
    handler = wanting(Annotated[str, Depends(pool, scope="worker")])

    subject = (
        f"worker-scoped dependency 'pool' ({where(pool)}) of handler 'wants' ({where(handler)})"
    )
    why = "belongs to one run of one task, and this serves all of them"
    assert problems_of(handler) == [
        (
            f"{subject} cannot fill parameter 'attempt': task.attempt {why}; leave it out, or use "
            "scope='attempt'"
        ),
        (
            f"{subject} cannot fill parameter 'value': Depends(per_attempt), per attempt {why}; "
            "leave it out, or use scope='attempt'"
        ),
    ]


def needs_db(db: Data[Db]) -> Db:
    """Need what may not be there."""
    return db


def test_dependency_is_refused_once_however_often_it_is_wanted() -> None:
    """The message names the dependency and the handler."""

    async def wants(
        email: Email,
        one: Annotated[Db, Depends(needs_db)],
        two: Annotated[Db, Depends(needs_db)],
    ) -> None:
        del email, one, two

    assert problems_of(wants) == [
        (
            f"dependency 'needs_db' ({where(needs_db)}) of handler 'wants' ({where(wants)}) cannot "
            f"fill parameter 'db': no data of {Db!r} is provided (provided: nothing); provide it "
            "with WorkerBuilder.data(Db(...))"
        )
    ]


def test_too_many_generators_are_refused() -> None:
    """Python nests 20 blocks; beyond that the call could not be compiled."""

    def another() -> Any:
        def generator_dependency() -> Iterator[None]:
            yield

        return generator_dependency

    def many(count: int) -> Any:
        async def wants(email: Email, **kwargs: object) -> None:
            del email, kwargs

        names = [f"p{n}" for n in range(count)]
        keyword = inspect.Parameter.KEYWORD_ONLY
        first = inspect.Parameter("email", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        wants.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # on purpose
            [
                first,
                *(
                    inspect.Parameter(name, keyword, annotation=Annotated[None, Depends(another())])
                    for name in names
                ),
            ]
        )
        return wants

    handler = many(25)

    assert problems_of(many(18)) == []
    assert problems_of(handler) == [
        (
            f"handler 'wants' ({where(handler)}) needs more than 18 generator dependencies, which "
            "Python cannot nest; open several of them in one"
        )
    ]


def test_all_problems_are_told_at_once() -> None:
    """Those of the arguments, of the parameters and of dependencies."""

    async def wants(
        sms: Sms, db: Db, *, other: Data[Db], third: Annotated[Db, Depends(needs_db)]
    ) -> None:
        del sms, db, other, third

    assert [text.partition("': ")[0].rpartition(" ")[2] for text in problems_of(wants)] == [
        "Router",
        "'db",
        "'other",
        "'db",
    ]


# Routers


async def takes_email(email: Email) -> None:
    """Handle it."""


async def takes_both(args: Email | Sms) -> None:
    """Handle it."""


@pytest.mark.parametrize(
    ("router", "message"),
    [
        pytest.param(
            Router().route(Email, takes_email),
            "the router has no branch for Sms, which the storage holds; add one: .route(Sms, ...)",
            id="missing branch",
        ),
        pytest.param(
            Router().route(Email, takes_email).route(Sms, takes_sms).route(Db, print),
            "the router has a branch for Db, which the storage does not hold (Email, Sms); take "
            "the branch out or add the type to the storage",
            id="branch too many",
        ),
        pytest.param(
            Router().route(Email | Sms, takes_both).route(Sms, takes_sms),
            "the router has two branches for Sms; leave one of them",
            id="two branches",
        ),
        pytest.param(
            Router().route(Email, takes_email).route(Sms, Router()),  # type: ignore[arg-type]  # on purpose
            "the router has a router as its branch for Sms; add that one's routes to it",
            id="router in a router",
        ),
    ],
)
def test_router_is_refused(router: object, message: str) -> None:
    """It has exactly one branch for each type of the storage."""
    assert problems_of(router, args=Email | Sms) == [message]


def test_problems_of_a_branch_are_those_of_its_handler() -> None:
    """The branch's own type is what its handler must take."""
    router = Router().route(Email, takes_sms).route(Sms, takes_sms)  # type: ignore[arg-type]  # on purpose

    assert problems_of(router, args=Email | Sms) == [
        (
            f"handler 'takes_sms' ({where(takes_sms)}) takes Sms first ('sms'), the storage holds "
            "Email; let it take that too, or use a Router"
        )
    ]
