"""Outcomes: what a delay may be, and how they read."""

from datetime import timedelta

import pytest

from layered import RetryAfter, Snooze


@pytest.mark.parametrize(
    ("delay", "got"),
    [(-1, "-1.0"), (float("nan"), "nan"), (float("inf"), "inf"), (timedelta(seconds=-1), "-1.0")],
    ids=str,
)
@pytest.mark.parametrize("outcome", [RetryAfter, Snooze])
def test_outcome_refuses_a_delay_that_is_none(
    outcome: type[RetryAfter | Snooze], delay: float, got: str
) -> None:
    """Where it is made, and not in the store."""
    told = rf"{outcome.__name__}\(.*\): the delay must be 0 or more seconds; got {got}"

    with pytest.raises(ValueError, match=told):
        outcome(delay)


def test_outcome_takes_a_delay_in_either_form_and_tells_it() -> None:
    """As a number of seconds, or as a span."""
    assert Snooze(timedelta(minutes=1)).delay == 60.0
    assert str(Snooze(0)) == "snoozed for 0 s"
    assert str(RetryAfter(timedelta(minutes=1), "busy")) == "busy (again in 60 s)"
