"""The lines of a result, and how they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import attrs

Whose: TypeAlias = Literal["ours", "peer", "floor", ""]


@attrs.frozen
class Line:
    """
    One figure beside what it is compared with.

    Args:
        what: What was measured.
        seconds: Per task, or per call.
        floor: Seconds of what it is compared with; `None` for nothing.
        times: Target: at most so many times the floor.
        most: Target: at most so many seconds.
        whose: Who is drawn with a bar; empty for no bar.
        promise: What is promised for a task, and what is kept of it.
        spread: Seconds of the fastest and of the slowest round, where
            *seconds* is the median.
    """

    what: str
    seconds: float
    floor: float | None = None
    times: float | None = None
    most: float | None = None
    whose: Whose = ""
    promise: str = ""
    spread: tuple[float, float] | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the floor it takes."""
        return None if self.floor is None else self.seconds / self.floor

    @property
    def target(self) -> str:
        """The target for people; empty if there is none."""
        if self.times is not None:
            return f"ratio ≤ {shown_ratio(self.times, digits=0)}"
        return "" if self.most is None else f"≤ {shown(self.most)}"

    @property
    def held(self) -> bool | None:
        """Whether the target was held; `None` if there is none."""
        if self.times is not None and self.ratio is not None:
            return self.ratio <= self.times
        return None if self.most is None else self.seconds <= self.most


@attrs.frozen
class Table:
    """
    The lines of one question.

    Args:
        name: Of the question; one question may have a table for each loop.
        title: The question.
        lines: The answer.
        loop: The event loop, if it has a part in it.
        rates: Whether tasks a second say more than the time of one.
        notes: What else a reader must know, such as who is missing.
    """

    name: str
    title: str
    lines: Sequence[Line]
    loop: str = ""
    rates: bool = False
    notes: Sequence[str] = ()


def shown(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.2f} µs"


def shown_rate(seconds: float) -> str:
    """Write how many there are in a second; nothing where that says nothing."""
    return f"{1 / seconds:,.0f}" if seconds >= 1e-6 else ""


def shown_spread(spread: tuple[float, float] | None) -> str:
    """Write from which time to which the rounds took."""
    return "" if spread is None else " to ".join(map(shown, spread))


def shown_ratio(ratio: float | None, *, digits: int = 2) -> str:
    """Write how many times as long as the floor, or which part of it."""
    if ratio is None:
        return ""
    if not digits:
        return f"{ratio:g}" if ratio >= 1 else f"1/{1 / ratio:g}"
    return f"{ratio:.{digits}f}" if ratio >= 1 else f"1/{1 / ratio:.{digits}f}"


def shown_held(line: Line) -> str:
    """Say whether the target was held; nothing without one."""
    return {True: "yes", False: "NO", None: ""}[line.held]


def text(table: Table) -> str:
    """Write a table for a terminal."""
    title = f"{table.name} ({table.loop})" if table.loop else table.name
    width = max(44, len(title), *(len(line.what) for line in table.lines))
    head = f"{title:{width}}  {'time':>10} {'a second':>11} {'ratio':>7}  {'target':>14}  held"
    rows = [_row(line, width) for line in table.lines]
    return "\n".join([table.title, head, "─" * len(head), *rows, *table.notes, ""])


def _row(line: Line, width: int) -> str:
    time, rate = shown(line.seconds), shown_rate(line.seconds)
    row = f"{line.what:{width}}  {time:>10} {rate:>11} {shown_ratio(line.ratio):>7}"
    rest = f"{line.target:>14}  {shown_held(line):4}  {shown_spread(line.spread)}  {line.promise}"
    return f"{row}  {rest}".rstrip()
