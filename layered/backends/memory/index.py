"""Which task is next: a line of ready ones and a line of future ones per queue and name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from layered.backends.memory.line import Line
from layered.backends.memory.rows import Row
from layered.task import Status

_Lines: TypeAlias = dict[tuple[str, str], Line]

_READY = frozenset({Status.READY})
_FUTURE = frozenset({Status.SCHEDULED, Status.RETRY})


class Index:
    """Finds the next rows without looking at the others."""

    __slots__ = ("_future", "_ready")

    def __init__(self) -> None:
        self._ready: _Lines = {}
        self._future: _Lines = {}

    def place(self, row: Row, status: Status) -> None:
        """Put a row that is not running where claims will find it."""
        row.status = status
        draft = row.draft
        key = (draft.queue, draft.name)
        lines, statuses, rank = self._future, _FUTURE, 0
        if status is Status.READY:
            lines, statuses, rank = self._ready, _READY, -draft.priority
        line = lines.get(key)
        if line is None:
            line = lines[key] = Line(statuses)
        line.put(rank, row)

    def withdraw(self, row: Row, status: Status) -> None:
        """Take out a row that waits for its turn: it is in *status* now."""
        lines = self._ready if row.status is Status.READY else self._future
        row.status = status
        lines[row.draft.queue, row.draft.name].withdraw()

    def take(self, queue: str, left: Mapping[str, int], now: int, most: int) -> Iterator[Row]:
        """
        Take ready rows off the lines, the best first, of names that have something left.

        Due rows are promoted before, at most *most* of each name. The
        caller counts *left* down for the rows that it keeps.
        """
        lines: dict[str, Line] = {}
        for name, limit in left.items():
            if limit > 0:
                self._promote((queue, name), now, most)
                line = self._ready.get((queue, name))
                if line is not None and line.first() is not None:
                    lines[name] = line
        while lines:
            name = (
                min(lines, key=lambda each: lines[each].first() or ())
                if len(lines) > 1
                else next(iter(lines))
            )
            yield lines[name].pop()
            if left[name] <= 0 or lines[name].first() is None:
                del lines[name]

    def has_ready(self, queue: str, names: Iterable[str]) -> bool:
        """Whether a row of one of these names is ready."""
        lines = [self._ready.get((queue, name)) for name in names]
        return any(line is not None and line.first() is not None for line in lines)

    def next_due(self, queue: str, names: Iterable[str]) -> int | None:
        """Answer when the next future row of these names is due."""
        lines = [self._future.get((queue, name)) for name in names]
        firsts = [line.first() for line in lines if line is not None]
        return min((first[1] for first in firsts if first is not None), default=None)

    def names(self, queue: str) -> list[str]:
        """List the names that have ready rows."""
        return sorted(
            name
            for (where, name), line in self._ready.items()
            if where == queue and line.first() is not None
        )

    def _promote(self, key: tuple[str, str], now: int, most: int) -> None:
        future = self._future.get(key)
        while future is not None and most > 0:
            first = future.first()
            if first is None or first[1] > now:
                return
            self.place(future.pop(), Status.READY)
            most -= 1
