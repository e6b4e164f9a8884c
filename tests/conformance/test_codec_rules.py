"""The rules of codecs: the shipped one keeps them, each finds the fault that it is there for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings, strategies as some

from layered import Codec, JsonCodec
from layered.testing import CodecSubject, check_codec, codec_rules
from layered.testing.conformance.rule import RuleBroken
from tests.conformance.strangers.wrong_codecs import WRONG


@attrs.frozen
class Email:
    to: str
    cc: list[str] = attrs.field(factory=list)
    at: datetime | None = None


@attrs.frozen
class Sms:
    number: str


class Letter(TypedDict):
    street: str
    sheets: list[bytes]


TEXTS = some.text(some.characters(codec="utf-8"), max_size=20)
NUMBERS = some.integers(-(2**63), 2**63)
TIMES = some.none() | some.datetimes(timezones=some.just(UTC))
VALUES: dict[Any, some.SearchStrategy[Any]] = {
    Email: some.builds(Email, TEXTS, some.lists(TEXTS, max_size=3), TIMES),
    Letter: some.fixed_dictionaries({"street": TEXTS, "sheets": some.lists(some.binary())}),
    dict[str, Email]: some.dictionaries(TEXTS, some.builds(Email, TEXTS), max_size=3),
    list[int]: some.lists(NUMBERS),
    tuple[float, bool]: some.tuples(
        some.floats(allow_nan=False, allow_infinity=False), some.booleans()
    ),
    UUID: some.uuids(),
    str: TEXTS,
    int | None: some.none() | NUMBERS,
}
REFUSED: Sequence[Any] = [dict[str, Email | Sms], "Email"]


@settings(max_examples=25)
@given(some.fixed_dictionaries({form: some.lists(one, max_size=3) for form, one in VALUES.items()}))
async def test_json_keeps_the_rules_of_codecs(values: dict[Any, Sequence[Any]]) -> None:
    """Each rule, with values of every kind that arguments are made of."""
    for rule in codec_rules:
        await rule.check(CodecSubject(JsonCodec(), values, REFUSED))


def test_every_rule_of_codecs_has_a_codec_that_breaks_it() -> None:
    """No rule is there that cannot fail."""
    assert {name for name, _ in WRONG} == {rule.name for rule in codec_rules}


@pytest.mark.parametrize(("rule", "make"), WRONG, ids=lambda one: getattr(one, "__name__", None))
def test_a_codec_with_a_fault_is_told_which_rule_it_breaks(
    rule: str, make: Callable[[], Codec]
) -> None:
    """The message of the one line names the rule."""
    with pytest.raises(RuleBroken, match=r"^the codec breaks") as raised:
        check_codec(make(), {Email: [Email("ada")], list[int]: [[2, 1], [3]]})

    assert f"the rule {rule!r}" in str(raised.value)


def test_a_codec_is_not_checked_without_values() -> None:
    """Nothing would be found."""
    with pytest.raises(ValueError, match="no values are given; pass some"):
        check_codec(JsonCodec(), {Email: []})
