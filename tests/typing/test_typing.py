"""
What type checkers accept and refuse, as users of the package see it.

Programs in good/ pass mypy and pyright. Programs in bad/ are refused by both
on every line that ends in a comment ``# E:``, and on no other line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

Line = tuple[str, int]
Checker = Callable[[list[Path]], dict[Line, str]]


def mypy(programs: list[Path]) -> dict[Line, str]:
    """Return mypy's errors in *programs*, by file and line."""
    options = ["--strict", "--output", "json", "--no-error-summary"]
    found = output("mypy", *options, *map(str, programs)).splitlines()
    reports = [json.loads(line) for line in found]
    return {
        (shown(report["file"]), report["line"]): report["message"]
        for report in reports
        if report["severity"] == "error"
    }


def pyright(programs: list[Path]) -> dict[Line, str]:
    """Return pyright's errors in *programs*, by file and line."""
    found = json.loads(output("pyright", "--outputjson", *map(str, programs)))
    return {
        (shown(report["file"]), report["range"]["start"]["line"] + 1): report["message"]
        for report in found["generalDiagnostics"]
        if report["severity"] == "error"
    }


def shown(program: Path | str) -> str:
    """Return the part of *program*'s path that tells it from the others."""
    return "/".join(Path(program).parts[-2:])


def output(checker: str, *arguments: str) -> str:
    """Return what *checker* prints; 1 as its exit status means that it found errors."""
    command = [sys.executable, "-m", checker, *arguments]
    # pyright looks at the packages of the `python` that it finds.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), f"{checker} broke down: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.timeout(300)  # a checker without a cache reads all of the standard library
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_checkers_agree_with_the_marks_in_the_programs(checker: Checker) -> None:
    """Errors stand exactly where a program says so; one process checks them all."""
    programs = [path for folder in ("good", "bad") for path in sorted((HERE / folder).glob("*.py"))]
    assert programs, f"no programs to check in {HERE}/good or {HERE}/bad"

    expected = {
        (shown(path), number)
        for path in programs
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if path.parent.name == "bad" and "# E:" in line
    }
    found = checker(programs)

    assert {line: text for line, text in found.items() if line not in expected} == {}
    assert expected - found.keys() == set(), "errors that the checker does not see"


@pytest.mark.timeout(300)
def test_every_public_name_has_a_type_that_checkers_know() -> None:
    """A user of the installed package meets no unknown type, whatever the checker infers."""
    options = ["--outputjson", "--ignoreexternal", "--verifytypes", "layered"]

    symbols = json.loads(output("pyright", *options))["typeCompleteness"]["symbols"]

    assert symbols, "pyright did not find the package"
    # Ambiguous is `self.x = x` with a declared x: unannotated, but plain to every checker.
    unknown = [s for s in symbols if not (s["isTypeKnown"] or s["isTypeAmbiguous"])]
    assert [s["name"] for s in unknown if s["isExported"]] == []
