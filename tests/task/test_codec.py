"""Kinds: names, versions, and arguments to bytes and back."""

import dataclasses
from typing import Any, TypedDict

import attrs
import pytest

from layered import DecodeFailed, Kind, PushRefused
from layered.task import JSON, Kinds, checked_name


@attrs.frozen
class Email:
    to: str
    cc: list[str] = attrs.field(factory=list)


@dataclasses.dataclass
class Sms:
    number: str


class Letter(TypedDict):
    street: str


@pytest.mark.parametrize(
    ("form", "value", "name"),
    [
        (Email, Email("ada", ["bob"]), "Email"),
        (Sms, Sms("+49"), "Sms"),
        (Letter, Letter(street="Hauptstraße"), "Letter"),
        (int, 5, "int"),
        (list[int], [1, 2], "list[int]"),
        (dict[str, Email], {"first": Email("ada")}, "dict[str, Email]"),
    ],
    ids=repr,
)
def test_kind_carries_a_value_there_and_back(form: type, value: object, name: str) -> None:
    """Attrs classes, dataclasses, TypedDicts and generics survive the journey."""
    kind: Kind[object] = Kind(form)

    assert kind.decode(kind.encode(value)) == value
    assert kind.name.rpartition(".")[2] in name or kind.name == name


def test_kinds_find_the_kind_of_a_typed_dict() -> None:
    """At run time its values are plain dicts."""
    kinds: Kinds[object] = Kinds((Kind(Email), Kind(Letter)))

    assert kinds.of(Letter(street="Hauptstraße")).name == "Letter"
    assert kinds.of(Email("ada")).name == "Email"


def test_kind_refuses_bytes_that_do_not_fit() -> None:
    """What is wrong is said with the task's name; the codec's error is the cause."""
    kind = Kind(Email)

    with pytest.raises(DecodeFailed, match=r"arguments of task 'Email'.*failed") as raised:
        kind.decode(b'{"to": 5}')

    assert raised.value.__cause__ is not None


@pytest.mark.parametrize("depth", [100_000])
def test_kind_survives_bytes_that_nest_too_deep(depth: int) -> None:
    """A JSON bomb is a decoding error of that task."""
    with pytest.raises(DecodeFailed):
        Kind(list[object]).decode(b"[" * depth)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "1 to 200 characters, got ''"),
        ("x" * 201, "at most 200 characters, got 201"),
        ("a\nb", "no control characters"),
        ("a\x00b", "no control characters"),
        ("a\u2028b", "no control characters"),
    ],
    ids=["empty", "long", "line feed", "nul", "line separator"],
)
def test_name_that_no_store_may_see_is_refused(name: str, told: str) -> None:
    """Names go into logs, spans and indexes."""
    with pytest.raises(PushRefused, match=told):
        checked_name("task name", name)
    with pytest.raises(PushRefused, match=told):
        Kind(Email, name=name)


def test_name_in_any_script_is_fine() -> None:
    """Only control characters are refused."""
    assert checked_name("queue", "Bücher 书 é") == "Bücher 书 é"


def test_kind_version_starts_at_one() -> None:
    """A version below 1 cannot be compared with what others stored."""
    with pytest.raises(PushRefused, match="version must be 1 to 2147483647, got 0"):
        Kind(Email, version=0)


def test_kinds_find_a_value_by_its_type_and_its_bases() -> None:
    """A subclass travels as its nearest listed base."""

    @attrs.frozen
    class Urgent(Email):
        pass

    kinds: Kinds[Email | Sms] = Kinds((Kind(Email), Kind(Sms)))

    assert kinds.of(Sms("1")).name == "Sms"
    assert kinds.of(Urgent("ada")).name == "Email"


def test_kinds_refuse_a_value_of_another_type() -> None:
    """The message says what the storage takes and what it got."""
    with pytest.raises(PushRefused, match="takes Email, Sms, got int"):
        Kinds((Kind(Email), Kind(Sms))).of(5)


def test_kinds_refuse_two_types_of_one_name() -> None:
    """A claimed task must find one decoder."""
    with pytest.raises(PushRefused, match=r"two argument types have the task name 'mail'"):
        Kinds((Kind(Email, name="mail"), Kind(Sms, name="mail")))


def test_kind_refuses_a_type_that_the_codec_cannot_carry() -> None:
    """A union of two classes without tags has no decoder."""
    with pytest.raises(TypeError):
        Kind(dict[str, Email | Sms])


@pytest.mark.parametrize("form", [[Email, Sms], Email("ada"), "Email"], ids=repr)
def test_kind_refuses_what_is_no_type_and_says_how_types_are_written(form: Any) -> None:
    """A list of types is the usual slip."""
    with pytest.raises(TypeError, match=r"cannot be the type of .*: Email \| Sms"):
        Kind(form)


def test_kind_and_codec_show_how_they_are_made() -> None:
    """In messages about storages and tasks."""
    assert repr(Kind(int, name="number", version=2)) == "Kind(int, name='number', version=2)"
    assert repr(JSON) == "JsonCodec()"
