"""How figures are written for people."""

import pytest

from benchmarks.table import Line, Table, shown, shown_ratio, text


@pytest.mark.parametrize(
    ("ratio", "expected"), [(None, ""), (3.456, "3.46"), (1.0, "1.00"), (0.25, "1/4.00")]
)
def test_a_ratio_below_one_is_written_as_a_part(ratio: float | None, expected: str) -> None:
    """What takes a quarter of the floor's time is told as 1/4, not as 0.25."""
    assert shown_ratio(ratio) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(2.5e-6, "2.50 µs"), (1e-3, "1.00 ms"), (0.25, "250.00 ms")]
)
def test_a_time_has_the_unit_that_suits_it(seconds: float, expected: str) -> None:
    """From a millisecond on, times are in milliseconds."""
    assert shown(seconds) == expected


@pytest.mark.parametrize(
    ("line", "held"),
    [
        (Line("as fast as asked", 1.0, 4.0, times=1 / 4), True),
        (Line("slower than asked", 1.1, 4.0, times=1 / 4), False),
        (Line("short enough", 1.0, most=1.0), True),
        (Line("too long", 1.1, most=1.0), False),
        (Line("a target without its floor", 1.0, times=3.0), None),
        (Line("without a target", 1.0, 4.0), None),
    ],
)
def test_a_line_tells_whether_its_target_was_held(line: Line, held: bool | None) -> None:
    """The target itself still holds; without something to compare with nothing is said."""
    assert line.held is held


def test_text_shows_a_missed_target_and_the_notes() -> None:
    """What a reader must not overlook stands in the table of a terminal too."""
    table = Table(
        "peers", "A question?", [Line("ours", 2e-6, 1e-6, times=1.5)], notes=["x is missing"]
    )

    rows = text(table).splitlines()

    assert rows[0] == "A question?"
    assert rows[3].split() == ["ours", "2.00", "µs", "500,000", "2.00", "ratio", "≤", "1.5", "NO"]
    assert rows[4] == "x is missing"


def test_text_shows_the_rounds_of_a_median() -> None:
    """How far the rounds lie apart says what a difference is worth."""
    table = Table("peers", "A question?", [Line("ours", 2e-6, spread=(1e-6, 5e-3))])

    assert "1.00 µs to 5.00 ms" in text(table).splitlines()[3]
