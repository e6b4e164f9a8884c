"""Charts are well-formed, and as long as what they show."""

from xml.etree import ElementTree as ET

import pytest

from benchmarks.chart import LEFT, WIDTH, Bar, svg
from benchmarks.results import load

NAMESPACE = "{http://www.w3.org/2000/svg}"


def drawn(*bars: Bar) -> ET.Element:
    """Draw and parse."""
    return ET.fromstring(svg("A title", "a unit", bars))  # noqa: S314 - our own text


def widths(picture: ET.Element) -> list[float]:
    """Answer the lengths of the bars, without the page behind them."""
    return [float(rect.attrib["width"]) for rect in picture.iter(f"{NAMESPACE}rect")][1:]


def test_svg_draws_bars_to_scale_from_zero() -> None:
    """Half of the value is half of the length, and the longest leaves room for its figure."""
    longest, half = widths(drawn(Bar("a", 10.0, "10", "ours"), Bar("b", 5.0, "5", "peer")))

    assert half == pytest.approx(longest / 2, abs=0.1)
    assert LEFT + longest <= WIDTH - 90


def test_svg_shows_every_text_as_it_is() -> None:
    """Signs that mean something in XML are only text here."""
    picture = drawn(Bar("a < b & c", 1.0, "1 > 0", "floor", 'small "print"'))

    texts = [text.text for text in picture.iter(f"{NAMESPACE}text")]

    assert texts == ["A title", "a unit", "a < b & c", 'small "print"', "1 > 0"]


def test_svg_is_as_high_as_its_bars() -> None:
    """No bar lies below the edge."""
    picture = drawn(*(Bar(str(each), 1.0, "1", "ours") for each in range(20)))

    lowest = max(
        float(rect.attrib["y"]) + float(rect.attrib["height"])
        for rect in picture.iter(f"{NAMESPACE}rect")
    )

    assert lowest <= float(picture.attrib["height"])


def test_texts_of_the_kept_results_fit_beside_their_bars() -> None:
    """What runs over the edge of the picture cannot be read; a sign is 8 or 7 pixels wide."""
    lines = [line for table in load().tables for line in table.lines if line.whose]

    too_long = [
        line.what
        for line in lines
        if 8 * len(f"{line.what}, asyncio") > LEFT or 7 * len(line.promise) > LEFT - 16
    ]

    assert too_long == []


def test_svg_draws_nothing_but_zeros() -> None:
    """Values that are all zero do not divide by zero."""
    assert widths(drawn(Bar("a", 0.0, "0", "ours"))) == [1.0]
