"""The tables and charts of `docs/benchmarks.md`, made of what was kept; nothing is measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.chart import Bar, svg
from benchmarks.results import Results
from benchmarks.table import (
    Line,
    Table,
    shown,
    shown_held,
    shown_rate,
    shown_ratio,
    shown_spread,
)

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
CHARTS = DOCS / "images" / "benchmarks"

PLACE = re.compile(r"(?<=<!-- benchmarks: )([\w-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def write(results: Results) -> None:
    """Write the page anew, and every chart."""
    PAGE.write_text(page(PAGE.read_text(), results))
    CHARTS.mkdir(parents=True, exist_ok=True)
    for name, drawing in charts(results):
        (CHARTS / f"{name}.svg").write_text(drawing)


def page(text: str, results: Results) -> str:
    """
    Answer *text* with each marked place filled.

    Raises:
        KeyError: if a place asks for what was not measured.
    """
    parts = {name: "\n".join(_markdown(tables)) for name, tables in _questions(results)}
    parts["machine"] = "\n".join(f"- {kind}: {fact}" for kind, fact in results.machine.items())
    return PLACE.sub(lambda place: f"{place[1]}{place[2]}\n{parts[place[1]]}\n\n", text)


def charts(results: Results) -> Iterator[tuple[str, str]]:
    """Draw each question that has bars: its name, and SVG."""
    for name, tables in _questions(results):
        bars = [_bar(line, table) for table in tables for line in table.lines if line.whose]
        if bars:
            unit = "tasks a second: more is better" if tables[0].rates else "time: less is better"
            if any(bar.whose == "floor" for bar in bars):
                unit += "; dashed: the floor, written by hand"
            yield name, svg(tables[0].title, unit, bars)


def _bar(line: Line, table: Table) -> Bar:
    label = f"{line.what}, {table.loop}" if table.loop else line.what
    value, text = line.seconds, shown(line.seconds)
    if table.rates:
        value, text = 1 / line.seconds, f"{1 / line.seconds:,.0f}"
    return Bar(label, value, text, line.whose, line.promise)


def _questions(results: Results) -> Iterator[tuple[str, list[Table]]]:
    for name, tables in groupby(results.tables, key=lambda table: table.name):
        yield name, [*tables]


def _markdown(tables: Sequence[Table]) -> Iterator[str]:
    """Write the tables of one question, of both loops side by side."""
    columns = {"": [_indented(line.what) for line in tables[0].lines]}
    for table in tables:
        columns[table.loop or "time"] = [shown(line.seconds) for line in table.lines]
    if tables[0].rates:
        columns["a second"] = _both(tables, lambda line: shown_rate(line.seconds))
    columns["rounds"] = _both(tables, lambda line: shown_spread(line.spread))
    columns["ratio"] = _both(tables, lambda line: shown_ratio(line.ratio))
    columns["target"] = [line.target for line in tables[0].lines]
    columns["held"] = _both(tables, shown_held)
    columns["promise"] = [line.promise for line in tables[0].lines]
    filled = {head: cells for head, cells in columns.items() if any(cells)}
    yield f"| {' | '.join(filled)} |"
    yield f"|{'---|' * len(filled)}"
    for cells in zip(*filled.values(), strict=True):
        yield f"| {' | '.join(cells)} |"
    for note in dict.fromkeys(note for table in tables for note in table.notes):
        yield f"\n{note}"


def _both(tables: Sequence[Table], text: Callable[[Line], str]) -> list[str]:
    """Write one cell for all loops; the same text once."""
    rows = zip(*(table.lines for table in tables), strict=True)
    return [", ".join(each for line in lines if (each := text(line))) for lines in rows]


def _indented(what: str) -> str:
    return what.replace("  ", "&emsp;") if what.startswith("  ") else what
