"""`Data`: which of the worker's values fills a parameter."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import attrs

from layered.extractors import Data
from tests.handler.parts import Email, called, problems_of


@attrs.frozen
class State:
    name: str


class Special(State):
    pass


@runtime_checkable
class Greets(Protocol):
    def greet(self) -> str: ...


@attrs.frozen
class Polite:
    def greet(self) -> str:
        return "good day"


async def test_data_is_found_by_its_exact_type() -> None:
    """Also when a subclass is provided as well."""

    async def send(email: Email, state: Data[State], special: Data[Special]) -> object:
        return state.name, special.name

    assert await called(send, Special("special"), State("plain")) == ("plain", "special")


async def test_data_is_found_by_a_base_class() -> None:
    """If it is the only value that fits."""

    async def send(email: Email, state: Data[State]) -> State:
        return state

    special = Special("special")

    assert await called(send, special, Polite()) is special


async def test_data_is_found_by_a_protocol_of_the_run_time() -> None:
    """The handler need not know the class."""

    async def send(email: Email, greets: Data[Greets]) -> str:
        return greets.greet()

    assert await called(send, State("x"), Polite()) == "good day"


async def test_data_of_a_generic_type_is_found_by_its_class() -> None:
    """The type's arguments cannot be seen in a value."""

    async def send(
        email: Email, exact: Data[dict[str, int]], base: Data[Mapping[str, int]]
    ) -> object:
        return exact, base

    assert await called(send, {"a": 1}) == ({"a": 1}, {"a": 1})


async def test_data_is_the_same_object_for_every_task() -> None:
    """It is the worker's own; no copy is made."""

    async def send(email: Email, state: Data[State]) -> State:
        return state

    state = State("x")

    assert await called(send, state) is state


class Silent(Protocol):
    def greet(self) -> str: ...


def test_data_of_a_protocol_that_is_not_for_the_run_time_is_not_guessed() -> None:
    """Nothing can tell what matches it."""

    async def send(email: Email, silent: Data[Silent]) -> None:
        del email, silent

    assert problems_of(send, Polite()) == [
        (
            f"handler 'send' (test_data.py:{send.__code__.co_firstlineno}) cannot fill parameter "
            f"'silent': no data of {Silent!r} is provided (provided: Polite); provide it with "
            "WorkerBuilder.data(Silent(...))"
        )
    ]
