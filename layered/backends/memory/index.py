"""Which task is next: a heap of ready ones and a heap of future ones per queue and name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from typing import TypeAlias

from layered.backends.memory.rows import Row
from layered.task import Status

_Rank: TypeAlias = tuple[int, int, str]
_Heap: TypeAlias = list[tuple[_Rank, int, Row]]

_FUTURE = (Status.SCHEDULED, Status.RETRY)


class Index:
    """
    Finds the next rows without looking at the others.

    Heaps keep outdated entries until they come up; an entry is true while
    its row has the state and due time that it was put in with. The number
    in the middle only keeps rows from being compared.
    """

    __slots__ = ("_count", "_future", "_ready")

    def __init__(self) -> None:
        self._ready: dict[tuple[str, str], _Heap] = {}
        self._future: dict[tuple[str, str], _Heap] = {}
        self._count = 0

    def place(self, row: Row, status: Status) -> None:
        """Put a row that is not running where claims will find it."""
        row.status = status
        draft = row.draft
        key = (draft.queue, draft.name)
        self._count += 1
        if status is Status.READY:
            rank = (-draft.priority, row.due, draft.id)
            heappush(self._ready.setdefault(key, []), (rank, self._count, row))
        else:
            rank = (row.due, 0, draft.id)
            heappush(self._future.setdefault(key, []), (rank, self._count, row))

    def take(self, queue: str, left: Mapping[str, int], now: int, most: int) -> Iterator[Row]:
        """
        Take ready rows off the heaps, the best first, of names that have something left.

        Due rows are promoted before, at most *most* of each name. The
        caller counts *left* down for the rows that it keeps.
        """
        heaps: dict[str, _Heap] = {}
        for name, limit in left.items():
            if limit > 0:
                self._promote((queue, name), now, most)
                if heap := self._live((queue, name)):
                    heaps[name] = heap
        while heaps:
            name = (
                min(heaps, key=lambda each: heaps[each][0][0])
                if len(heaps) > 1
                else next(iter(heaps))
            )
            yield heappop(heaps[name])[2]
            if left[name] <= 0 or not self._live((queue, name)):
                del heaps[name]

    def has_ready(self, queue: str, names: Iterable[str]) -> bool:
        """Whether a row of one of these names is ready."""
        return any(self._live((queue, name)) for name in names)

    def next_due(self, queue: str, names: Iterable[str]) -> int | None:
        """Answer when the next future row of these names is due: maybe outdated, never late."""
        heaps = [self._future.get((queue, name)) for name in names]
        return min((heap[0][0][0] for heap in heaps if heap), default=None)

    def names(self, queue: str) -> list[str]:
        """List the names that have ready rows."""
        return sorted(
            name for where, name in self._ready if where == queue and self._live((where, name))
        )

    def _promote(self, key: tuple[str, str], now: int, most: int) -> None:
        future = self._future.get(key)
        while future and most > 0 and future[0][0][0] <= now:
            (due, _, _), _, row = heappop(future)
            if row.status in _FUTURE and row.due == due:
                self.place(row, Status.READY)
                most -= 1

    def _live(self, key: tuple[str, str]) -> _Heap | None:
        """Answer the ready heap with a true entry on top; `None` if there is none."""
        heap = self._ready.get(key)
        while heap and not (heap[0][2].status is Status.READY and heap[0][2].due == heap[0][0][1]):
            heappop(heap)
        return heap or None
