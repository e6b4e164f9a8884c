"""The page is made of what was kept."""

from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.results import Results, load, save
from benchmarks.table import Line, Table

BOTH = [
    Table(
        "speed",
        "How fast?",
        [Line("by hand", 1e-6, whose="floor"), Line("  ours", 2e-6, 1e-6)],
        loop,
    )
    for loop in ("asyncio", "trio")
]


def test_page_has_the_tables_and_charts_of_the_kept_results() -> None:
    """Nobody wrote a figure by hand, and none is older than the results."""
    results = load()

    assert page.page(page.PAGE.read_text(), results) == page.PAGE.read_text()
    drawn = {f"{name}.svg": text for name, text in page.charts(results)}
    assert {path.name: path.read_text() for path in page.CHARTS.iterdir()} == drawn


def test_page_shows_every_table_and_chart() -> None:
    """What was measured is also shown."""
    text, results = page.PAGE.read_text(), load()

    assert [t.name for t in results.tables if f"<!-- benchmarks: {t.name} -->" not in text] == []
    assert [name for name, _ in page.charts(results) if f"benchmarks/{name}.svg)" not in text] == []


def test_page_fills_its_places_and_leaves_the_rest() -> None:
    """Both loops stand side by side; what was between the marks goes."""
    text = "before\n<!-- benchmarks: speed -->\nold\n<!-- end -->\nafter\n"

    filled = page.page(text, Results({}, BOTH))

    assert filled == (
        "before\n<!-- benchmarks: speed -->\n\n"
        "|  | asyncio | trio | ratio |\n|---|---|---|---|\n"
        "| by hand | 1.00 µs | 1.00 µs |  |\n"
        "| &emsp;ours | 2.00 µs | 2.00 µs | 2.00, 2.00 |\n\n"
        "<!-- end -->\nafter\n"
    )
    assert page.page(filled, Results({}, BOTH)) == filled


def test_page_has_the_rounds_of_medians() -> None:
    """A column of their own; kept results have them too."""
    table = Table("speed", "How fast?", [Line("ours", 2e-6, spread=(1e-6, 3e-6))])

    filled = page.page("<!-- benchmarks: speed -->\n<!-- end -->\n", Results({}, [table]))

    assert "|  | time | rounds |\n|---|---|---|\n| ours | 2.00 µs | 1.00 µs to 3.00 µs |" in filled


def test_page_refuses_a_place_for_what_was_not_measured() -> None:
    """A table that is missing is no empty table."""
    with pytest.raises(KeyError, match="nobody"):
        page.page("<!-- benchmarks: nobody -->\n<!-- end -->", Results({}, BOTH))


def test_charts_have_a_bar_for_each_marked_line_of_each_loop() -> None:
    """Lines without a mark are in the table only."""
    ((name, drawing),) = page.charts(Results({}, BOTH))

    assert name == "speed"
    assert "by hand, asyncio" in drawing
    assert "by hand, trio" in drawing
    assert "ours" not in drawing.partition("</style>")[2]


def test_save_replaces_a_question_and_keeps_the_others(tmp_path: Path) -> None:
    """A run of one question does not lose what was measured before."""
    path = tmp_path / "results.json"
    order = ["other", "speed"]
    save([*BOTH, Table("other", "Else?", [Line("a", 1.0)]), Table("gone", "", [])], order, path)

    line = Line("new", 0.123456, spread=(0.111111, 0.222222))
    save([Table("speed", "How fast?", [line], "trio")], order, path)

    kept = load(path).tables
    assert [(table.name, table.loop) for table in kept] == [
        ("other", ""),
        ("speed", "asyncio"),
        ("speed", "trio"),
    ]
    assert kept[2].lines == [Line("new", 0.1235, spread=(0.1111, 0.2222))]
