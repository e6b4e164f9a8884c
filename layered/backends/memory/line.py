"""A line of rows, in the order in which they are to be claimed."""

from __future__ import annotations

from collections import deque
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from layered.backends.memory.rows import Row
from layered.task import Status

Entry: TypeAlias = tuple[int, int, str, int, Row]
"""Rank, due time, id, a number that keeps rows from being compared, and the row."""


class Line:
    """
    Rows by rank, due time and id, the lowest first.

    What comes in order, nearly everything, is kept in a deque, where a row
    costs the same however many there are; only the rest is in a heap.

    Outdated entries stay until they come up, or are the most: an entry is
    true while its row has one of *statuses*, and the due time that it was
    put in with.

    Args:
        statuses: Of the rows that belong here.
    """

    __slots__ = ("_count", "_heap", "_ordered", "_outdated", "_statuses")

    def __init__(self, statuses: AbstractSet[Status]) -> None:
        self._statuses = statuses
        self._ordered: deque[Entry] = deque()
        self._heap: list[Entry] = []
        self._count = self._outdated = 0

    def put(self, rank: int, row: Row) -> None:
        """Put a row in its place."""
        self._count += 1
        entry = (rank, row.due, row.draft.id, self._count, row)
        if not self._ordered or self._ordered[-1] < entry:
            self._ordered.append(entry)
        else:
            heappush(self._heap, entry)

    def first(self) -> Entry | None:
        """Answer the first true entry, without those before it; `None` if there is none."""
        ordered, heap = self._ordered, self._heap
        while ordered or heap:
            entry = heap[0] if self._heap_leads() else ordered[0]
            if entry[4].status in self._statuses and entry[4].due == entry[1]:
                return entry
            self.pop()
        return None

    def pop(self) -> Row:
        """Take off the entry at the head, true or not, and answer its row."""
        return (heappop(self._heap) if self._heap_leads() else self._ordered.popleft())[4]

    def withdraw(self) -> None:
        """Be told that an entry has become outdated; clear all such out once they are the most."""
        self._outdated += 1
        if 2 * self._outdated > len(self._ordered) + len(self._heap):
            self._ordered = deque(filter(self._is_true, self._ordered))
            self._heap = list(filter(self._is_true, self._heap))
            heapify(self._heap)
            self._outdated = 0

    def _is_true(self, entry: Entry) -> bool:
        return entry[4].status in self._statuses and entry[4].due == entry[1]

    def _heap_leads(self) -> bool:
        heap, ordered = self._heap, self._ordered
        return bool(heap) and (not ordered or heap[0] < ordered[0])
