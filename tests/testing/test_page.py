"""The page on testing workers, run as what it shows: a test file of a user."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.docs_examples.run_page import blocks
from tests.house.source import ROOT

DEFINITIONS = (
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.FunctionDef,
    ast.Import,
    ast.ImportFrom,
)


def test_examples_are_tests_that_pass_on_both_loops(tmp_path: Path) -> None:
    """With pytest and anyio's plugin, without what runs them inside the page."""
    page = (ROOT / "docs" / "testing-workers.md").read_text()
    program = ast.parse("\n".join(text for kind, _, text in blocks(page) if kind == "python"))
    program.body = [each for each in program.body if isinstance(each, DEFINITIONS)]
    file = tmp_path / "test_page.py"
    file.write_text(ast.unparse(program))
    tests = file.read_text().count("async def test_")

    command = [sys.executable, "-m", "pytest", "-W", "error", "-o", "anyio_mode=auto", file.name]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)

    assert f"{2 * tests} passed" in done.stdout, done.stdout
    assert tests > 0
