"""Links that lead somewhere, and examples that are run."""

import re
from pathlib import Path

from tests.house.source import ROOT, files, shown

FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)\n.*?^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)[^)]*\)|^\[[^\]]+\]:\s*<?([^\s>]+)", re.MULTILINE)
HEADING = re.compile(r"^#+[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
SKIP = re.compile(r"([^\n]*)\n<!--+\s*skip:([^\n]*?)--+>")
ELSEWHERE = re.compile(r"<!--- .* (tests/\S+\.py) runs it --->")


def pages() -> list[Path]:
    """Return the documentation: the Markdown files at the top and in docs/."""
    return [path for path in files(".md") if path.parent == ROOT or ROOT / "docs" in path.parents]


def prose(page: Path) -> str:
    """Return *page* without its code, where brackets are no links and # is no heading."""
    return CODE.sub("", FENCE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """Return what a link into *page* may name after its #, as code hosts derive it."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_nowhere(page: Path, link: str) -> bool:
    """Tell whether the relative *link* on *page* names a missing file or heading."""
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    if not target.exists():
        return True
    return bool(anchor) and target.suffix == ".md" and anchor not in anchors(target)


def test_relative_links_lead_somewhere() -> None:
    """A link in the documentation names a file that exists and a heading in it."""
    broken = [
        f"{shown(page)}: {link}"
        for page in pages()
        for link in map("".join, LINK.findall(prose(page)))
        if not re.match(r"[a-z]+:", link) and leads_nowhere(page, link)
    ]

    assert broken == []


def test_python_examples_are_fenced_so_that_they_run() -> None:
    """Only a plain ``python`` fence is run, so no example hides behind another spelling."""
    hidden = [
        f"{shown(page)}: {info.strip()}"
        for page in pages()
        for _, info in FENCE.findall(page.read_text())
        if info.strip().startswith("py") and info != "python"
    ]

    assert hidden == []


def test_an_example_that_is_not_run_says_why() -> None:
    """A skip has a reason in quotes, or names the test that runs the example in its stead."""
    silent = [
        f"{shown(page)}: skip:{arguments}"
        for page in pages()
        for before, arguments in SKIP.findall(page.read_text())
        if "end" not in arguments
        and not re.search(r"\"[^\"]+\"", arguments)
        and not any((ROOT / test).exists() for test in ELSEWHERE.findall(before))
    ]

    assert silent == []
