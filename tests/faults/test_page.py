"""The page about failures has the figures of the runs that are kept beside it, and no others."""

import re

import psycopg

from tests.faults.__main__ import POSTGRES, ROOT

PAGE = ROOT / "docs/what-survives.md"
REPORTS = [ROOT / f"benchmarks/faults-{backend}.txt" for backend in ("sqlite", "postgres")]


def figures(page: str) -> list[str]:
    """List the last cells of the page's tables, heads and rules left out."""
    cells = [
        line.strip("| ").rpartition("|")[2].strip() for line in page.splitlines() if "|" in line
    ]
    return [cell for cell in cells if cell != "measured" and not re.fullmatch("-+", cell)]


def stale(page: str, report: str) -> list[str]:
    """List the figures of *page* that are in no line of *report*."""
    lines = report.splitlines()
    return [
        cell
        for cell in figures(page)
        if not any(all(part in line for part in cell.split("; ")) for line in lines)
    ]


def test_the_page_has_the_figures_of_the_reports() -> None:
    """Whoever runs the suite at length anew, and keeps its report, has to update the page."""
    of_files, of_servers = PAGE.read_text().split("\n## On PostgreSQL\n")

    for part, report in zip((of_files, of_servers), REPORTS, strict=True):
        assert len(figures(part)) > 15
        assert stale(part, report.read_text()) == []


def test_the_check_finds_a_figure_that_was_not_measured() -> None:
    """A part that stands in no line, or in another than the rest."""
    report = "one: 10 tasks, lost 0\ntwo: 20 tasks, lost 0"

    assert stale("| a | b | 10 tasks; lost 0 |\n| a | b | 30 tasks |", report) == ["30 tasks"]
    assert stale("| a | b | 10 tasks; 20 tasks |", report) == ["10 tasks; 20 tasks"]


def test_the_report_names_the_server_that_was_run(durable: str) -> None:
    """The wheel may bring another one day."""
    with psycopg.connect(durable) as connection:
        ((version,),) = connection.execute("SHOW server_version").fetchall()

    assert f"PostgreSQL {version}" == POSTGRES
