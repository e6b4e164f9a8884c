"""Extractors of one's own: an object in an annotation is all that it takes."""

from collections.abc import Iterator
from typing import Annotated

import attrs
import pytest

from layered.handler import Attribute, Computed, Constant, Provided, Source, Unfillable, Wanted
from layered.task import Task
from tests.handler.parts import STATE, Email, State, called, compiled, make_task, problems_of


@attrs.frozen
class Header:
    name: str

    def source(self, wanted: Wanted, /) -> Source:
        return Computed(self.read, f"header {self.name}")

    def read(self, task: Task[object]) -> str | None:
        return task.metadata.get(self.name)


@attrs.frozen
class LateHeader(Header):
    def source(self, wanted: Wanted, /) -> Source:
        return Computed(self.read_later, f"header {self.name}")

    async def read_later(self, task: Task[object]) -> str | None:
        return task.metadata.get(self.name)


@attrs.frozen
class Named:
    def source(self, wanted: Wanted, /) -> Source:
        return Constant(f"{wanted.name}: {wanted.form.__name__}", "its own name")


@attrs.frozen
class Queue:
    def source(self, wanted: Wanted, /) -> Source:
        return Attribute("queue", "task.queue")


@attrs.frozen
class First:
    def source(self, wanted: Wanted, /) -> Source:
        if not wanted.data:
            raise Unfillable("there is no data", "call WorkerBuilder.data first")
        return Constant(next(iter(wanted.data.values())), "the first data")


@attrs.frozen
class Opened:
    log: list[str]

    def source(self, wanted: Wanted, /) -> Source:
        return Provided(self.opened, "attempt", "opened")

    def opened(self, state: Annotated[State, First()]) -> Iterator[str]:
        self.log.append("up")
        yield state.name
        self.log.append("down")


LOG: list[str] = []


async def send(
    email: Email,
    computed: Annotated[str | None, Header("tenant")],
    later: Annotated[str | None, LateHeader("tenant")],
    constant: Annotated[str, "a comment", Named()],
    attribute: Annotated[str, Queue()],
    *,
    provided: Annotated[str, Opened(LOG)],
) -> object:
    """Answer what it got."""
    return computed, later, constant, attribute, provided


async def test_own_extractors_fill_parameters() -> None:
    """With any kind of source, sync or async."""
    LOG.clear()
    task = make_task(metadata={"tenant": "t1"})

    assert await called(send, STATE, task=task) == (
        "t1",
        "t1",
        "constant: str",
        "default",
        "the state",
    )
    assert LOG == ["up", "down"]


def test_own_extractors_are_told_with_their_sources() -> None:
    """`explain` shows them like the others."""
    sources = [each.source for each in compiled(send, STATE).injected]

    assert sources == [
        "header tenant",
        "header tenant",
        "its own name",
        "task.queue",
        "opened",
        "the first data",
    ]


def test_own_extractor_can_refuse() -> None:
    """Its words become a line of the build error."""

    async def wants(email: Email, it: Annotated[State, First()]) -> None:
        del email, it

    assert problems_of(wants) == [
        (
            f"handler 'wants' (test_own_extractor.py:{wants.__code__.co_firstlineno}) cannot fill "
            "parameter 'it': there is no data; call WorkerBuilder.data first"
        )
    ]


def test_refusal_reads_as_one_sentence() -> None:
    """What was found, then the way out."""
    with pytest.raises(Unfillable, match="there is no data; call WorkerBuilder"):
        First().source(Wanted("it", State, {}))
