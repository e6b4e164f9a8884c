"""The lines of a result, and how they are printed."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


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
    """

    what: str
    seconds: float
    floor: float | None = None
    times: float | None = None
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the floor it takes."""
        return None if self.floor is None else self.seconds / self.floor

    @property
    def target(self) -> str:
        """The target for people; empty if there is none."""
        if self.times is not None:
            return f"ratio ≤ {self.times:g}"
        return "" if self.most is None else f"≤ {shown(self.most)}"

    @property
    def held(self) -> bool | None:
        """Whether the target was held; `None` if there is none."""
        if self.times is not None and self.ratio is not None:
            return self.ratio <= self.times
        return None if self.most is None else self.seconds <= self.most


def shown(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.2f} µs"


def table(title: str, lines: Sequence[Line]) -> str:
    """Write *lines* under a title."""
    width = max(44, *(len(line.what) for line in lines))
    head = f"{title:{width}}  {'time':>10} {'per second':>11} {'ratio':>6}  {'target':>11}  held"
    return "\n".join([head, "─" * len(head), *(_row(line, width) for line in lines), ""])


def _row(line: Line, width: int) -> str:
    rate = f"{1 / line.seconds:,.0f}" if line.seconds >= 1e-6 else ""
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
    held = {True: "yes", False: "NO", None: ""}[line.held]
    text = f"{line.what:{width}}  {shown(line.seconds):>10} {rate:>11} {ratio:>6}"
    return f"{text}  {line.target:>11}  {held}".rstrip()
