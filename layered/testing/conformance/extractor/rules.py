"""The rules of extractors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from layered.handler.accept import bare, origin_of, union_members
from layered.task import Task
from layered.testing.conformance.extractor.subject import ANYTHING, ExtractorSubject, Form
from layered.testing.conformance.rule import RuleBroken, Suite, equal, true

AT_ONCE = 10
"""Calls at once of each sample."""

MOST_STEPS = 100
"""Turns of the event loop in which a value has been made."""

extractor_rules: Suite[ExtractorSubject] = Suite("extractor", virtual=False)
"""The rules that every extractor keeps; iterate over them to make each a test of its own."""


class Failure(Exception):
    """An error that no extractor knows."""


class Unreadable(Task[Any]):
    """A task whose metadata cannot be read."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Fail."""
        raise Failure


Fill: TypeAlias = Callable[[Task[Any]], Awaitable[object]]
"""Runs a handler for a task and answers the parameter's value."""


def _rule(function: Callable[[ExtractorSubject, Fill], Awaitable[None]], /) -> None:
    """Put *function* into the suite; it gets a compiled handler."""

    @wraps(function)
    async def check(subject: ExtractorSubject) -> None:
        handler = subject.handler()

        async def fill(task: Task[Any]) -> object:
            (value,) = await handler.service.call(task)
            return value

        async with handler.opened():
            await function(subject, fill)

    extractor_rules.rule(check)


@extractor_rules.rule
async def fills_a_parameter(subject: ExtractorSubject) -> None:
    """A handler with a parameter of that annotation can be built."""
    subject.handler()


@extractor_rules.rule
async def is_resolved_where_no_event_loop_runs(subject: ExtractorSubject) -> None:
    """A worker may be built while its module is imported."""
    await anyio.to_thread.run_sync(subject.handler)


@extractor_rules.rule
async def says_where_the_value_comes_from(subject: ExtractorSubject) -> None:
    """Its source has a text, which `Worker.explain` shows."""
    for injected in subject.handler().injected:
        true(injected.source.strip(), f"the source of {injected.parameter!r} has a text")


@extractor_rules.rule
async def is_refused_at_build_without_its_data(subject: ExtractorSubject) -> None:
    """If it needs data of the worker and there are none, no worker can be built."""
    problems: list[str] = []
    if subject.data:
        subject.compile((), problems)
        true(problems, "a handler cannot be built without the data")


@_rule
async def gives_the_promised_value(subject: ExtractorSubject, fill: Fill) -> None:
    """For each sample the handler gets the sample's value."""
    for sample in subject.fillable:
        found = await fill(sample.task())
        if sample.value is not ANYTHING:
            equal(found, sample.value, f"the value for {sample}")


@_rule
async def gives_a_value_of_the_promised_type(subject: ExtractorSubject, fill: Fill) -> None:
    """The handler gets an instance of what the annotation says."""
    for sample in subject.fillable:
        _fits(await fill(sample.task()), subject.form)


@_rule
async def gives_the_same_for_the_same_task(subject: ExtractorSubject, fill: Fill) -> None:
    """A value depends on the task and on nothing else: asked twice, the two are equal."""
    for sample in subject.fillable:
        task = sample.task()
        equal(await fill(task), await fill(task), "the value when asked twice, at first")


@_rule
async def works_in_later_runs(subject: ExtractorSubject, fill: Fill) -> None:
    """A task that has failed before is filled like others."""
    for sample in subject.fillable:
        for later in (1, 10):
            _fits(await fill(sample.task(later)), subject.form)


@_rule
async def leaves_the_task_as_it_was(subject: ExtractorSubject, fill: Fill) -> None:
    """Arguments, metadata and the number of the run are read and not written."""
    for sample in subject.fillable:
        task = sample.task()
        await fill(task)
        equal(task.args, sample.args, "the arguments afterwards")
        equal(dict(task.metadata), dict(sample.metadata), "the metadata afterwards")
        equal(task.attempt, sample.attempt, "the attempt afterwards")


@_rule
async def keeps_calls_at_once_apart(subject: ExtractorSubject, fill: Fill) -> None:
    """Of many runs at once each gets the value for its own task."""
    tasks = [sample.task() for _ in range(AT_ONCE) for sample in subject.fillable]
    alone = [await fill(task) for task in tasks]

    async def check(task: Task[Any], value: object) -> None:
        equal(await fill(task), value, f"the value for one of {len(tasks)} tasks at once")

    async with anyio.create_task_group() as group:
        for task, value in zip(tasks, alone, strict=True):
            group.start_soon(check, task, value)


@_rule
async def passes_cancellation_on(subject: ExtractorSubject, fill: Fill) -> None:
    """A run that is cancelled while its value is made ends so, and the next one is filled."""
    for task in [sample.task() for sample in subject.fillable]:
        value = await fill(task)
        for steps in range(MOST_STEPS):
            over, ended_so = await _cancelled(fill, task, value, steps)
            true(ended_so, f"cancelled after {steps} turns, a run ends so or with its value")
            equal(await fill(task), value, f"the value after a run cancelled after {steps} turns")
            if over:
                break


async def _cancelled(fill: Fill, task: Task[Any], value: object, steps: int) -> tuple[bool, bool]:
    """Cancel a run; tell whether it was over before, and whether it ended as it should."""
    found: list[object] = []
    over = False
    scope = anyio.CancelScope()

    async def run() -> None:
        with scope:
            found.append(await fill(task))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        for _ in range(steps):
            await checkpoint()
        over = bool(found)
        scope.cancel()
    return over, scope.cancelled_caught or found == [value]


@_rule
async def lets_errors_out(subject: ExtractorSubject, fill: Fill) -> None:
    """
    An error fails the run, and does not become a value.

    Tried with the samples that raise, and with a task whose metadata cannot be read.
    """
    for sample in subject.samples:
        if sample.raises is not None:
            await _fails(fill, sample.task(), sample.raises)
    for sample in subject.fillable:
        task = sample.task()
        value = await fill(task)
        with suppress(Failure):
            found = await fill(Unreadable(task.args, task.run))
            equal(found, value, "the value for a task whose metadata cannot be read")


async def _fails(fill: Fill, task: Task[Any], wanted: type[Exception]) -> None:
    try:
        found = await fill(task)
    except wanted:
        return
    msg = f"{wanted.__name__} must be raised, and not {found!r} be given, for {task.metadata!r}"
    raise RuleBroken(msg)


def _fits(value: object, form: Form) -> None:
    """Fail if *value* is no instance of *form*, as far as the run time can tell."""
    form = bare(form)
    members = [origin_of(one) or one for one in union_members(form) or (form,)]
    if all(isinstance(one, type) for one in members):
        true(isinstance(value, tuple(members)), f"{value!r} is an instance of {form!r}")
