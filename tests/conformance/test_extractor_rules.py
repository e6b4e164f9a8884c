"""The rules of extractors: the shipped ones keep them, and each finds its fault."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import attrs
import pytest

from layered import Attempt, Data, Depends, Metadata, TaskId, TracingContext
from layered.testing import ExtractorSubject, Sample, check_extractor, extractor_rules
from layered.testing.conformance.rule import RuleBroken
from tests.conformance.strangers.wrong_extractors import WRONG


@attrs.frozen
class State:
    name: str


async def lent(state: Data[State], attempt: Attempt) -> AsyncIterator[str]:
    """Give something for the time of one run."""
    yield f"{state.name}, {attempt}"


STATE = State("the state")
HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
SHIPPED: dict[str, ExtractorSubject] = {
    "Attempt": ExtractorSubject(Attempt, [Sample(1), Sample(3, attempt=3)]),
    "Data": ExtractorSubject(Data[State], [Sample(STATE)], [STATE]),
    "Depends": ExtractorSubject(
        Annotated[str, Depends(lent)],
        [Sample("the state, 1"), Sample("the state, 2", attempt=2)],
        [STATE],
    ),
    "Metadata": ExtractorSubject(Metadata, [Sample({}), Sample(HEADERS, metadata=HEADERS)]),
    "TaskId": ExtractorSubject(TaskId, [Sample()]),
    "TracingContext": ExtractorSubject(
        TracingContext, [Sample(), Sample(TracingContext(HEADERS), metadata=HEADERS)]
    ),
}


@pytest.mark.parametrize("name", SHIPPED)
async def test_an_extractor_keeps_the_rules_of_extractors(name: str) -> None:
    """Each rule of the suite that strangers run as well."""
    for rule in extractor_rules:
        await rule.check(SHIPPED[name])


def test_every_rule_of_extractors_has_an_extractor_that_breaks_it() -> None:
    """No rule is there that cannot fail."""
    assert {name for name, _ in WRONG} == {rule.name for rule in extractor_rules}


@pytest.mark.parametrize(
    ("rule", "wrong"), WRONG, ids=[name for name, _ in WRONG[:-1]] + ["errors"]
)
def test_an_extractor_with_a_fault_is_told_which_rule_it_breaks(
    rule: str, wrong: ExtractorSubject
) -> None:
    """The message of the one line names the rule."""
    with pytest.raises(RuleBroken, match=r"^the extractor breaks") as raised:
        check_extractor(wrong.form, *wrong.samples, data=wrong.data)

    assert f"the rule {rule!r}" in str(raised.value)


def test_an_extractor_is_checked_under_the_name_that_its_parameter_has() -> None:
    """It may go by it."""

    class ByName:
        def source(self, wanted: Any) -> Any:
            return wanted.name

    with pytest.raises(RuleBroken, match=r"its extractor .* answered 'tenant'"):
        check_extractor(Annotated[str, ByName()], Sample(), parameter="tenant")


def test_an_extractor_is_not_checked_without_samples() -> None:
    """Nothing would be found."""
    with pytest.raises(ValueError, match="no samples are given; pass some"):
        check_extractor(TaskId)
