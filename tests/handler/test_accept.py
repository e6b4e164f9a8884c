"""Whether a first parameter takes the arguments, and how types are shown."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypedDict, TypeVar, Union

import pytest
from typing_extensions import TypeAliasType

from layered.handler.accept import accepts, shown
from layered.task import Task
from tests.handler.parts import Email, Sms

T = TypeVar("T")
Id = NewType("Id", int)


class Options(TypedDict):
    limit: int


Aliased = TypeAliasType("Aliased", Email | Sms)


class Flipped(Sequence[str], Generic[T]):
    """A generic whose argument is not that of its base."""


class Small(int):
    pass


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        (object, Email),
        (Any, Email),
        (T, Email),
        (Email, Email),
        (int, Small),
        (int, bool),
        (float, int),
        (complex, float),
        (bytes, bytearray),
        (Annotated[Email, "x"], Email),
        (Email, Annotated[Email, "x"]),
        (Email | Sms, Email),
        (Union[Email, Sms], Email | Sms),  # noqa: UP007
        (Email | Sms | int, Email | Sms),
        (Optional[Email], Email),  # noqa: UP045
        (Aliased, Email),
        (Email | Sms, Aliased),
        (list, list[int]),
        (list[Any], list[int]),
        (Sequence[object], list[int]),
        (Mapping[str, object], dict[str, int]),
        (Sequence[str], Flipped[int]),
        (Id, int),
        (int, Id),
        (Options, Options),
        (Options, dict[str, int]),
        (Literal["a"], str),
    ],
    ids=str,
)
def test_wider_type_accepts_a_narrower_one(taken: Any, given: Any) -> None:
    """And where the run time cannot tell, the answer is yes."""
    assert accepts(taken, given)


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        (Email, Sms),
        (Small, int),
        (int, float),
        (str, bytes),
        (Email, Email | Sms),
        (Email | Sms, int),
        (list[int], list[str]),
        (dict[str, int], dict[str, str]),
        (list[int], tuple[int, ...]),
        (Email, object),
        (type(None), Email),
    ],
    ids=str,
)
def test_other_type_is_not_accepted(taken: Any, given: Any) -> None:
    """A type checker would say the same."""
    assert not accepts(taken, given)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Email, "Email"),
        (Task[Email], "Task[Email]"),
        (Email | Sms, "Email | Sms"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Any, "Any"),
        (None, "None"),
        (Literal["a"], "Literal['a']"),
    ],
    ids=str,
)
def test_type_is_shown_without_modules(form: Any, text: str) -> None:
    """As somebody would write it."""
    assert shown(form) == text
