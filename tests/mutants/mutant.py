"""
Mutants: faults put into a copy of `layered`, each with the tests that must find it.

A mutant is a change of a source file, Python or SQL. It is applied to a
copy of the package, the named tests run against that copy in a process of
their own, and every one of them must fail. Before, they all pass against
the copy as it is, so it is the fault that they find.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import layered

ROOT = Path(__file__).parents[2]
PACKAGE = Path(layered.__file__).parent

LIMIT = 5
"""Seconds for a killer: a fault may make it hang."""

SLOPPY = re.compile(r"\b(SyntaxError|NameError|UnboundLocalError|ImportError|ModuleNotFound)")
"""What a test says of a patch that is no program; it would be found whatever it does."""


class Mutant(NamedTuple):
    """
    One fault.

    Args:
        name: The fault in a few words.
        users: What would happen to users.
        file: Where, inside the package: ``worker/pool.py``.
        old: What stands there; exactly once.
        new: What stands there instead.
        killers: Tests that must fail, by their ids, for one event loop each.
    """

    name: str
    users: str
    file: str
    old: str
    new: str
    killers: Sequence[str]

    def __str__(self) -> str:
        """Show the name as it stands in the id of a test."""
        return self.name.replace(" ", "_")

    def applied(self, text: str) -> str:
        """
        Answer the source *text* with the fault.

        Raises:
            ValueError: if *old* is not found in it exactly once.
        """
        found = text.count(self.old)
        if found != 1:
            msg = (
                f"mutant {self.name!r} is out of date: {self.file} has {found} times what it "
                f"replaces; put the fault into today's text:\n{self.old}"
            )
            raise ValueError(msg)
        return text.replace(self.old, self.new)


def on_trio(file: str, *tests: str) -> list[str]:
    """Answer the ids of *tests* of a file, run on trio: ``"a_rule"``, or ``"a_rule[memory]"``."""
    return [f"tests/{file}.py::test_{_with_loop(test)}" for test in tests]


def _with_loop(test: str) -> str:
    name, bracket, parameters = test.partition("[")
    return f"{name}[trio-{parameters}" if bracket else f"{name}[trio]"


class Workshop:
    """
    A copy of the package, to put faults into, one after the other.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=without)

    def survives(self, mutant: Mutant) -> str:
        """Run the killers of *mutant*; answer what they said if one of them does not fail."""
        with self._faulty(mutant):
            told = self.run(mutant.killers)
        failed = set(re.findall(r"^FAILED (.+?)(?: - .*)?$", told, re.MULTILINE))
        killed = failed == set(mutant.killers) and not SLOPPY.search(told)
        return "" if killed else told

    def troubles(self, mutants: Iterable[Mutant]) -> str:
        """Run all killers of *mutants* without a fault; answer what they said if one fails."""
        killers = {killer for mutant in mutants for killer in mutant.killers}
        told = self.run(killers)
        return "" if f"\n{len(killers)} passed" in f"\n{told}" else told

    def run(self, tests: Iterable[str]) -> str:
        """Run *tests* against the copy as it is now, and answer what pytest says."""
        paths = f"pythonpath={self._folder} {ROOT}"
        options = ["-o", paths, "-o", f"timeout={LIMIT}", "-p", "no:cacheprovider"]
        options += ["-q", "-rfE", "--tb=short"]
        # By default compiled modules would be kept in the checkout, or nowhere.
        own = {"PYTHONPATH": str(self._folder), "PYTHONPYCACHEPREFIX": str(self._folder / "pyc")}
        environment = {**os.environ, **own, "COLUMNS": "1000"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-P", "-m", "pytest", *options, *tests]
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        return ended.stdout + ended.stderr

    @contextmanager
    def _faulty(self, mutant: Mutant) -> Iterator[None]:
        source, copy = PACKAGE / mutant.file, self._folder / PACKAGE.name / mutant.file
        copy.write_text(mutant.applied(source.read_text()))
        # Python takes a compiled file for current that is of a source of this time and size.
        self._number += 1
        os.utime(copy, (self._number, self._number))
        try:
            yield
        finally:
            shutil.copy2(source, copy)
