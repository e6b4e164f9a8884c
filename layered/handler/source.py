"""
The extractor contract: how a handler's parameter says where its value comes from.

A parameter is filled by what its annotation names. That is one of

- an object among an ``Annotated`` type's metadata that has a `source`
  method (an `Extractor`), which answers a `Source` when the worker is built;
- a class with a `from_task` classmethod (`FromTask`), sync or async.

Nothing is registered anywhere, so an extractor of your own is one file::

    @attrs.frozen
    class Header:
        name: str

        def source(self, wanted: Wanted) -> Source:
            return Computed(lambda task: task.metadata.get(self.name), f"header {self.name}")


    Tenant = Annotated[str | None, Header("tenant")]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import attrs

from layered.errors import LayeredError
from layered.task import Task

Scope: TypeAlias = Literal["attempt", "worker"]
"""How long a dependency lives: one run of one task, or as long as the worker."""


class FromTask(Protocol):
    """A type that handlers can ask for: it makes itself from the task."""

    @classmethod
    def from_task(cls, task: Task[Any], /) -> object:
        """Answer an instance for *task*, or (as an ``async def``) an awaitable of one."""
        ...


@attrs.frozen
class Constant:
    """
    One value for the worker's whole life, known when it is built.

    Args:
        value: The value.
        text: Where it comes from, for `Worker.explain`.
    """

    value: object
    text: str


@attrs.frozen
class Attribute:
    """
    An attribute of the task, read once per run.

    Args:
        path: Dotted, beginning below the task: ``"run.attempt"``; empty for
            the task itself.
        text: Where it comes from, for `Worker.explain`.
    """

    path: str
    text: str


@attrs.frozen
class Computed:
    """
    The result of a function of the task, called once per run and parameter.

    Args:
        function: Sync, or an ``async def``, which is awaited. A sync one
            runs on the event loop: it must not block.
        text: Where it comes from, for `Worker.explain`.
    """

    function: Callable[[Task[Any]], object]
    text: str


@attrs.frozen
class Provided:
    """
    The result of a function whose own parameters are filled like a handler's.

    Args:
        function: Sync, async, a generator or an async generator function; a
            generator is resumed after its one ``yield`` to clean up.
        scope: What one call of it serves.
        text: Where it comes from, for `Worker.explain`.
    """

    function: Callable[..., object]
    scope: Scope
    text: str


Source: TypeAlias = Constant | Attribute | Computed | Provided
"""Where the value of one parameter comes from."""


@attrs.frozen
class Wanted:
    """
    One parameter that wants a value.

    Args:
        name: The parameter's name.
        form: Its type, without ``Annotated``.
        data: What the worker provides, by type (`WorkerBuilder.data`).
    """

    name: str
    form: Any
    data: Mapping[type, object]


class Extractor(Protocol):
    """What stands in an ``Annotated`` type to fill parameters of that type."""

    def source(self, wanted: Wanted, /) -> Source:
        """
        Say where the value comes from; asked once, when a worker is built.

        Raises:
            Unfillable: if there is no value for it.
        """
        ...


class Unfillable(LayeredError):
    """
    An extractor has no value for a parameter; becomes a line of `BuildError`.

    Args:
        found: What was found instead: "no data of <class 'Db'> is provided".
        way_out: What to do: "provide it with WorkerBuilder.data(Db(...))".
    """

    def __init__(self, found: str, way_out: str) -> None:
        super().__init__(found, way_out)
        self.found = found
        self.way_out = way_out

    def __str__(self) -> str:
        """Give both, as they stand in the message."""
        return f"{self.found}; {self.way_out}"


@attrs.frozen
class Field:
    """
    The extractor of an attribute of the task.

    ``Attempt = Annotated[int, Field("run.attempt", "task.attempt")]``

    Args:
        path: See `Attribute`; chosen for speed where a property would do.
        text: What a reader knows it by.
    """

    path: str
    text: str

    def source(self, wanted: Wanted, /) -> Source:
        """Read the attribute, whatever the parameter is."""
        del wanted
        return Attribute(self.path, self.text)


@attrs.frozen
class Injected:
    """
    One filled parameter, for `Worker.explain`.

    Args:
        owner: The handler's or dependency's name.
        parameter: The parameter's name.
        type: Its type, as written.
        source: Where its value comes from.
    """

    owner: str
    parameter: str
    type: str
    source: str
