"""Rounds in which contenders take turns, each in a new process of its own environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

import attrs

from benchmarks.peers.environments import ROOT, NotInstalled, interpreter, last_line
from benchmarks.table import Line, Whose

LIMIT = 120.0
"""Seconds that one process may take."""


@attrs.frozen
class Contender:
    """
    One way to do what all do.

    Args:
        what: Its name in tables.
        peer: Whose environment; empty for ours.
        case: The script's module and its arguments.
        whose: A peer, ours or the floor.
        promise: What it promises; ``{journal}`` and ``{synchronous}``
            stand for what it was found to do.
    """

    what: str
    peer: str
    case: Sequence[object]
    whose: Whose = "peer"
    promise: str = ""


@attrs.frozen
class Place:
    """
    What came of a contender.

    Args:
        contender: Who it is.
        best: Its fastest round in seconds per task, by what was timed.
        facts: What it looked up.
    """

    contender: Contender
    best: Mapping[str, float]
    facts: Mapping[str, str]

    def line(self, figure: str, floor: float | None = None, times: float | None = None) -> Line:
        """Make the line of one figure."""
        one = self.contender
        promise = one.promise.format(**self.facts)
        return Line(one.what, self.best[figure], floor, times, whose=one.whose, promise=promise)


def race(contenders: Sequence[Contender], rounds: int) -> tuple[list[Place], list[str]]:
    """
    Run all, in turns; answer what came of them, and who is missing and why.

    Each figure is the fastest of its rounds.
    """
    runs: dict[str, list[dict[str, float | str]]] = {each.what: [] for each in contenders}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for each in contenders:
            if each.what not in missing:
                try:
                    runs[each.what].append(_run(each))
                except (NotInstalled, Failed) as error:
                    missing[each.what] = str(error)
    places = [_placed(each, runs[each.what]) for each in contenders if each.what not in missing]
    return places, list(dict.fromkeys(missing.values()))


class Failed(Exception):
    """
    A contender's process did not end well.

    Args:
        contender: Whose.
        reason: Its last word.
    """

    def __init__(self, contender: Contender, reason: str) -> None:
        super().__init__(f"{contender.what} is missing, it failed: {reason}")


def _run(contender: Contender) -> dict[str, float | str]:
    python = interpreter(contender.peer) if contender.peer else sys.executable
    module, *arguments = contender.case
    command = [str(python), "-m", f"benchmarks.peers.{module}", *map(str, arguments)]
    try:
        done = subprocess.run(  # noqa: S603 - our own scripts
            command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=LIMIT
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(contender, f"no answer in {LIMIT:g} s") from error
    if done.returncode:
        raise Failed(contender, last_line(done.stderr))
    figures: dict[str, float | str] = json.loads(done.stdout)
    return figures


def _placed(contender: Contender, rounds: Sequence[Mapping[str, float | str]]) -> Place:
    names = rounds[0].keys()
    times = {
        name: [value for each in rounds if isinstance(value := each[name], float)] for name in names
    }
    facts = {name: value for name in names if isinstance(value := rounds[0][name], str)}
    return Place(contender, {name: min(all_) for name, all_ in times.items() if all_}, facts)
