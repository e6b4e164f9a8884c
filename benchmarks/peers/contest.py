"""
What the scripts of all contenders share; it needs nothing but the standard library.

Each script runs in the environment of its library, in a new process for
each round: ``python -m benchmarks.peers.<script> <case> <numbers>``.
It prints one JSON object: seconds per task, by what was timed, and facts
that it looked up.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from time import perf_counter
from typing import Any, TypeAlias

Figures: TypeAlias = dict[str, float | str]


def mails(tasks: int) -> Iterator[dict[str, Any]]:
    """Make the arguments of so many tasks, about 100 bytes of JSON each."""
    for number in range(tasks):
        yield {
            "id": number,
            "to": f"{number}@example.org",
            "subject": "What the engine can do, and what it cannot",
        }


class Stopwatch:
    """
    Times what is pushed and then processed.

    Args:
        tasks: How many there are.
    """

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._handled = count(1)
        self._all = threading.Event()
        self._last = 0.0
        self._start = self._pushed = perf_counter()

    def pushed(self) -> None:
        """Note that all are pushed."""
        self._pushed = perf_counter()

    def handled(self) -> None:
        """Note that one more was handled; called by any thread."""
        if next(self._handled) == self._tasks:
            self._last = perf_counter()
            self._all.set()

    def figures(self) -> Figures:
        """
        Wait until all were handled; answer seconds per task.

        Raises:
            TimeoutError: if they were not after a minute.
        """
        if not self._all.wait(60):
            raise TimeoutError
        return {
            "push": (self._pushed - self._start) / self._tasks,
            "process": (self._last - self._pushed) / self._tasks,
            "total": (self._last - self._start) / self._tasks,
        }


def durability(connection: sqlite3.Connection) -> Figures:
    """Ask a connection what it promises of its commits."""
    ((mode,),) = connection.execute("PRAGMA journal_mode").fetchall()
    ((level,),) = connection.execute("PRAGMA synchronous").fetchall()
    return {"journal": mode.upper(), "synchronous": ("OFF", "NORMAL", "FULL", "EXTRA")[level]}


def compete(cases: Mapping[str, Callable[..., Figures]]) -> None:
    """Run the case that the command line names, and print its figures."""
    _, name, *arguments = sys.argv
    logging.basicConfig(level=logging.WARNING)
    print(json.dumps(cases[name](*(int(each) if each.isdigit() else each for each in arguments))))
