"""What a handler answered, with its type: found by the handler's own annotation."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union, get_args, get_type_hints

from layered.backend.types import Failure, Record
from layered.errors import Abort, DecodeFailed, LayeredError, Outcome, RetryAfter, Snooze
from layered.task import JSON, Status, form_name

if TYPE_CHECKING:
    from typing_extensions import TypeForm

R = TypeVar("R")

Returned: TypeAlias = R | Abort | RetryAfter | Snooze
"""What a handler may return: a result, or an outcome, which is never one."""


class NotDone(LayeredError):
    """
    A task has ended without a result: it is dead, or was cancelled.

    Args:
        task_id: The task.
        name: Its name.
        status: Dead or cancelled.
        attempt: The number of its last run, 0 if it never ran.
        failure: Its last error, as it was stored; `None` if there is none.
    """

    def __init__(
        self, task_id: str, name: str, status: Status, attempt: int, failure: Failure | None
    ) -> None:
        super().__init__(task_id, name, status, attempt, failure)
        self.task_id = task_id
        self.name = name
        self.status = status
        self.attempt = attempt
        self.failure = failure

    def __str__(self) -> str:
        """Give state, run and last error."""
        why = f": {self.failure.type}: {self.failure.message}" if self.failure else ""
        state = f"{self.status.label} after run {self.attempt}"
        return f"task {self.name!r} {self.task_id} is {state}{why}"


def unknown(task_id: str, doing: str) -> KeyError:
    """Make the error for a task that is not there."""
    return KeyError(f"{doing} task {task_id}: the store has no such task")


def result_of(record: Record, decode: Callable[[bytes], R]) -> R:
    """
    Answer the result of a task that has ended.

    Raises:
        NotDone: if it is dead or cancelled.
        DecodeFailed: if what is stored does not fit.
    """
    if record.status is not Status.DONE:
        last = record.errors[-1] if record.errors else None
        raise NotDone(record.id, record.name, record.status, record.attempt, last)
    try:
        return decode(b"null" if record.result is None else record.result)
    except Exception as error:
        lost = "; none is stored" if record.result is None else ""
        msg = f"decoding the result of task {record.name!r} {record.id} failed: {error}{lost}"
        raise DecodeFailed(msg) from error


def decoder(of: Callable[..., object] | TypeForm[R]) -> Callable[[bytes], R]:
    """
    Answer what decodes values of a type, or of what a function is annotated to return.

    Raises:
        TypeError: if the function has no such annotation, or it cannot be decoded.
    """
    form: Any = of
    while isinstance(form, functools.partial):
        form = form.func
    if inspect.isroutine(form):
        form = _returned(inspect.unwrap(form))
    try:
        return JSON.decoder(form)
    except TypeError as error:
        msg = f"{form_name(of)!r} gives no type to decode as: {error}; {_WAY_OUT}"
        raise TypeError(msg) from error


_WAY_OUT = "pass a type such as str, or a function that is annotated to return one"


def _returned(function: Callable[..., object]) -> Any:  # noqa: ANN401 - a type form
    """Answer the annotated return type of *function*, without outcomes, which are no results."""

    def carrier() -> None: ...

    try:
        carrier.__annotations__ = {"return": function.__annotations__["return"]}
        outside = getattr(function, "__globals__", {})
        form = get_type_hints(carrier, outside, include_extras=True)["return"]
    except Exception as error:
        msg = (
            f"{function.__qualname__!r} has no return type that can be read: {error!r}; {_WAY_OUT}"
        )
        raise TypeError(msg) from error
    members = [one for one in get_args(form) if inspect.isclass(one) and issubclass(one, Outcome)]
    rest = tuple(one for one in get_args(form) if one not in members)
    return Union[rest] if members and rest else form  # noqa: UP007 - of a number that varies
