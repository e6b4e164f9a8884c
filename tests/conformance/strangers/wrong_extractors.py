"""Extractors with one fault each, by the rule of the suite that finds it."""

from itertools import count
from typing import Annotated, Any

import anyio
import attrs
from anyio.lowlevel import checkpoint

from layered import Task
from layered.handler import Computed, Source, Wanted
from layered.testing import ExtractorSubject, Sample

NUMBERS = count()


@attrs.frozen
class Name:
    """The metadata's tenant."""

    text: str


def samples(form: type[Name] = Name) -> list[Sample]:
    """Make two tasks of different tenants."""
    return [Sample(form(text), metadata={"tenant": text}) for text in ("acme", "zeta")]


TEXT = Sample("acme", metadata={"tenant": "acme"})


def read(task: Task[Any]) -> Name:
    """Answer what is promised."""
    return Name(task.metadata["tenant"])


class NoClassmethod(Name):
    """Cannot be called for a task."""

    def from_task(self, task: Task[Any], /) -> Name:
        return read(task)


@attrs.frozen
class NeedsLoop:
    """Asks for the time while a worker is built."""

    def source(self, wanted: Wanted, /) -> Source:
        anyio.current_time()
        return Computed(read, "the tenant")


@attrs.frozen
class Silent:
    """Says nothing of where the value comes from."""

    def source(self, wanted: Wanted, /) -> Source:
        return Computed(read, "")


@attrs.frozen
class LooksLate:
    """Looks for its data when the first task comes."""

    def source(self, wanted: Wanted, /) -> Source:
        def look(task: Task[Any]) -> object:
            return wanted.data[Name]

        return Computed(look, "the data")


class ReadsAnother(Name):
    """Takes the first that it finds."""

    @classmethod
    def from_task(cls, task: Task[Any], /) -> Name:
        return Name(min(task.metadata))


class Untyped(Name):
    """Gives the text as it is."""

    @classmethod
    def from_task(cls, task: Task[Any], /) -> Any:
        return task.metadata["tenant"]


class Counts(Name):
    """Gives another value each time."""

    @classmethod
    def from_task(cls, task: Task[Any], /) -> Any:
        return cls(f"{task.metadata['tenant']} {next(NUMBERS)}")


class FirstRunOnly(Name):
    """Forgets that a task may run again."""

    @classmethod
    def from_task(cls, task: Task[Any], /) -> Any:
        if task.attempt > 1:
            raise ValueError("this task has run")
        return cls(task.metadata["tenant"])


class Marks(Name):
    """Writes to the metadata."""

    @classmethod
    def from_task(cls, task: Task[Any], /) -> Any:
        metadata: Any = task.metadata
        metadata["seen"] = "yes"
        return cls(metadata["tenant"])


class Shares(Name):
    """Keeps what belongs to one run where all runs share it."""

    last = ""

    @classmethod
    async def from_task(cls, task: Task[Any], /) -> Any:
        Shares.last = task.metadata["tenant"]
        await checkpoint()
        return cls(Shares.last)


class Swallows(Name):
    """Gives a value to a run that is cancelled."""

    @classmethod
    async def from_task(cls, task: Task[Any], /) -> Any:
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class():
            return cls("nobody")
        return cls(task.metadata["tenant"])


class HidesErrors(Name):
    """Gives a value whatever is wrong."""

    @classmethod
    def from_task(cls, task: Task[Any], /) -> Any:
        try:
            return cls(task.metadata["tenant"])
        except Exception:  # noqa: BLE001 - this is what is wrong
            return cls("nobody")


def of(form: type[Name], *given: Sample) -> ExtractorSubject:
    """Make a subject of a class with ``from_task``."""
    return ExtractorSubject(form, given or samples(form))


def by(extractor: object) -> ExtractorSubject:
    """Make a subject of an object in an annotation."""
    return ExtractorSubject(Annotated[Name, extractor], samples())


WRONG: list[tuple[str, ExtractorSubject]] = [
    ("fills a parameter", of(NoClassmethod)),
    ("is resolved where no event loop runs", by(NeedsLoop())),
    ("says where the value comes from", by(Silent())),
    (
        "is refused at build without its data",
        ExtractorSubject(Annotated[Name, LooksLate()], [Sample()], [Name("the worker's")]),
    ),
    ("gives the promised value", of(ReadsAnother)),
    (
        "gives a value of the promised type",
        of(Untyped, TEXT),
    ),
    ("gives the same for the same task", of(Counts)),
    ("works in later runs", of(FirstRunOnly)),
    ("leaves the task as it was", of(Marks)),
    ("keeps calls at once apart", of(Shares)),
    ("passes cancellation on", of(Swallows)),
    ("lets errors out", of(HidesErrors)),
    ("lets errors out", of(HidesErrors, Sample(raises=KeyError))),
]
