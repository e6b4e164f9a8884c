"""What the extractor suite checks: an annotation, with tasks and their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from inspect import Parameter, Signature
from typing import Any, TypeAlias

import attrs

from layered.handler import Handler, Setting, compile_handler
from layered.task import NO_METADATA, Kind, Kinds, Task
from layered.testing.conformance.rule import RuleBroken
from layered.testing.task import make_task

Form: TypeAlias = Any
"""What stands in an annotation."""

ANYTHING = object()
"""No value is promised, only its type."""


@attrs.frozen
class Sample:
    """
    A task, and what is promised for it.

    Args:
        value: The value of the parameter; left out, any of its type.
        raises: In place of a value, the class of the error.
        args: The task's arguments.
        metadata: What travels with it.
        attempt: The number of its run, 1 on the first.
    """

    value: object = ANYTHING
    raises: type[Exception] | None = attrs.field(default=None, kw_only=True)
    args: object = attrs.field(default="arguments", kw_only=True)
    metadata: Mapping[str, str] = attrs.field(default=NO_METADATA, kw_only=True)
    attempt: int = attrs.field(default=1, kw_only=True)

    def task(self, later: int = 0) -> Task[Any]:
        """Make the task, as claimed for its run or for a *later* one."""
        args, metadata = deepcopy(self.args), dict(self.metadata)
        return make_task(args, attempt=self.attempt + later, metadata=metadata)


@attrs.frozen
class ExtractorSubject:
    """
    What fills a parameter, and what to check it with.

    Args:
        form: The parameter's annotation: a class with ``from_task``, or an
            ``Annotated`` type with an extractor.
        samples: Tasks with their values; 1 or more, better 2 with different values.
        data: What the worker provides (`WorkerBuilder.data`).
        parameter: The parameter's name.
    """

    form: Form
    samples: Sequence[Sample]
    data: Sequence[object] = ()
    parameter: str = "value"

    @property
    def fillable(self) -> Sequence[Sample]:
        """The samples for which a value is promised."""
        return [sample for sample in self.samples if sample.raises is None]

    def compile(self, data: Sequence[object], problems: list[str]) -> Handler | None:
        """Compile a handler that answers the value in a tuple; `None` if something is wrong."""

        async def handler(_: object, /, **values: object) -> object:
            return tuple(values.values())

        wanted = {"annotation": self.form, "kind": Parameter.KEYWORD_ONLY}
        task = Parameter("args", Parameter.POSITIONAL_ONLY, annotation=object)
        signature = Signature([task, Parameter(self.parameter, **wanted)])
        handler.__signature__ = signature  # type: ignore[attr-defined] # functions can have one
        setting = Setting({type(each): each for each in data}, threads=1)
        return compile_handler(handler, Kinds(Kind(str, name="sample")), setting, problems)

    def handler(self) -> Handler:
        """
        Compile it with all data.

        Raises:
            RuleBroken: if something is wrong.
        """
        problems: list[str] = []
        handler = self.compile(self.data, problems)
        if handler is None:
            raise RuleBroken("; ".join(problems))
        return handler
