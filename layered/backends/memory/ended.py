"""What has ended: kept for a while, then a tombstone, then gone."""

from __future__ import annotations

from collections import deque

from layered.backend import Limits
from layered.backends.memory.rows import Row
from layered.task import Status


class Ended:
    """
    The ended rows, oldest end first, at most *keep* of them.

    Args:
        rows: All rows by id; rows are removed from it here.
        limits: Retention.
        keep: Most ended rows; beyond it the oldest go without a tombstone.
    """

    __slots__ = ("_keep", "_limits", "_order", "_rows")

    def __init__(self, rows: dict[str, Row], limits: Limits, keep: int) -> None:
        self._rows = rows
        self._limits = limits
        self._keep = keep
        self._order: deque[Row] = deque()

    def add(self, row: Row) -> None:
        """Take a row that has just ended."""
        self._order.append(row)
        if len(self._order) > self._keep:
            del self._rows[self._order.popleft().draft.id]

    def prune(self, now: int, limit: int) -> int:
        """Strip and remove rows past their retention; answer how many, at most *limit*."""
        changed, kept = 0, deque[Row]()
        while self._order and changed < limit:
            row = self._order.popleft()
            keep = self._limits.keep_dead if row.status is Status.DEAD else self._limits.keep_done
            age = (now - row.finished) / 1e6
            if age >= max(keep, self._limits.tombstone):
                del self._rows[row.draft.id]
                changed += 1
            else:
                changed += age >= keep and row.strip()
                kept.append(row)
        self._order.extendleft(reversed(kept))
        return changed
