"""What the documentation says that its examples print."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs_examples.run_page import FENCE, MARK, blocks
from tests.house.source import ROOT, files

RUNNER = Path(__file__).with_name("run_page.py")
OUTPUT = "<!-- output -->"
PAGES = [path for path in files(".md") if path.name == "README.md" or ROOT / "docs" in path.parents]


def printed(program: Path, folder: Path) -> dict[int, str]:
    """Run the page *program* in *folder*; return what each of its blocks printed, by line."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(RUNNER), str(program)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    parts = [part.partition("\n") for part in done.stdout.split(MARK)[1:]]
    return {int(line): output for line, _, output in parts}


def claimed(text: str) -> dict[int, str]:
    """Return what *text* says that its blocks print, by the line of the block."""
    claims = {}
    for found in FENCE.finditer(text):
        before = text[: found.start()].rstrip()
        if found[1] == "text" and before.endswith(OUTPUT):
            program = [line for kind, line, _ in blocks(before) if kind == "python"]
            claims[program[-1]] = found[2]
    return claims


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_print_what_their_page_says(page: Path, tmp_path: Path) -> None:
    """The output in a page is the real one; ``...`` stands for what differs from run to run."""
    claims = claimed(page.read_text())
    found = printed(page, tmp_path)

    same = doctest.OutputChecker().check_output
    wrong = {
        line: found[line]
        for line, text in claims.items()
        if not same(text, found[line], doctest.ELLIPSIS)
    }
    assert wrong == {}, f"{page.name}: these blocks print something else"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_output_in_a_page_is_compared(page: Path) -> None:
    """No text block stands in a page without being compared."""
    text = page.read_text()

    loose = [
        found[2]
        for found in FENCE.finditer(text)
        if found[1] == "text" and not text[: found.start()].rstrip().endswith(OUTPUT)
    ]

    assert loose == []


def test_the_readme_runs_on_sqlite_with_the_one_line_that_it_says(tmp_path: Path) -> None:
    """The first program prints the same after the exchange that the README shows."""
    text = (ROOT / "README.md").read_text()
    program = next(source for kind, _, source in blocks(text) if kind == "python")
    exchange = next(source for kind, _, source in blocks(text) if kind == "diff")
    old, new = re.findall(r"^[-+](.*\n)", exchange, re.MULTILINE)
    changed = tmp_path / "app.py"

    assert program.count(old) == 1
    changed.write_text(program.replace(old, new).replace("MemoryStorage,", "SqliteStorage,"))
    done = subprocess.run(
        [sys.executable, changed], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    assert done.stdout == next(iter(claimed(text).values()))
    assert (tmp_path / "tasks.db").exists()


def test_the_complete_example_is_the_program_of_the_examples() -> None:
    """The page shows the file, without its docstring."""
    text = (ROOT / "docs" / "complete-example.md").read_text()
    (program,) = [source for kind, _, source in blocks(text) if kind == "python"]

    assert (ROOT / "examples" / "complete.py").read_text().endswith(f"\n\n{program}")
