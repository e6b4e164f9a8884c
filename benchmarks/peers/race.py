"""Rounds in which contenders take turns, each in a new process of its own environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import median

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
        rounds: Its seconds per task in each round, by what was timed.
        facts: What it looked up.
    """

    contender: Contender
    rounds: Mapping[str, Sequence[float]]
    facts: Mapping[str, str]

    @property
    def best(self) -> dict[str, float]:
        """The fastest round."""
        return {figure: min(rounds) for figure, rounds in self.rounds.items()}

    @property
    def middle(self) -> dict[str, float]:
        """The median of the rounds, where noise may also make one too fast."""
        return {figure: median(rounds) for figure, rounds in self.rounds.items()}

    def line(self, figure: str, floor: float | None = None, times: float | None = None) -> Line:
        """Make the line of one figure, of the fastest round."""
        one = self.contender
        promise = one.promise.format(**self.facts)
        return Line(one.what, self.best[figure], floor, times, whose=one.whose, promise=promise)

    def middle_line(
        self, figure: str, floor: float | None = None, times: float | None = None
    ) -> Line:
        """Make the line of one figure, of the median, with the fastest and the slowest round."""
        rounds = self.rounds[figure]
        return attrs.evolve(
            self.line(figure, floor, times),
            seconds=self.middle[figure],
            spread=(min(rounds), max(rounds)),
        )


def race(
    contenders: Sequence[Contender],
    rounds: int,
    opened: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> tuple[list[Place], list[str]]:
    """
    Run all, in turns; answer what came of them, and who is missing and why.

    Args:
        contenders: Who they are.
        rounds: Of each; 1 or more.
        opened: Is entered around each process; what it answers is the last
            argument.
    """
    runs: dict[str, list[dict[str, float | str]]] = {each.what: [] for each in contenders}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for each in contenders:
            if each.what not in missing:
                try:
                    with opened() as place:
                        runs[each.what].append(_run(each, place))
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


def _run(contender: Contender, place: object) -> dict[str, float | str]:
    python = interpreter(contender.peer) if contender.peer else sys.executable
    module, *arguments = contender.case
    if place is not None:
        arguments.append(place)
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
    return Place(contender, {name: all_ for name, all_ in times.items() if all_}, facts)
