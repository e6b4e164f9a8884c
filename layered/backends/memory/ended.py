"""What has ended: kept for a while, then a tombstone, then gone."""

from __future__ import annotations

from collections import deque
from collections.abc import Set as AbstractSet

from layered.backend import Limits
from layered.backends.memory.keys import Keys
from layered.backends.memory.rows import Row
from layered.task import Status


class Ended:
    """
    The ended rows, oldest end first, at most *keep* of them.

    Args:
        rows: All rows by id; rows are removed from it here.
        keys: Their dedup keys; a row is kept while the window of its key is open.
        limits: Retention.
        keep: Most ended rows; beyond it the oldest go without a tombstone, and their keys.
    """

    __slots__ = ("_keep", "_keys", "_limits", "_order", "_rows")

    def __init__(self, rows: dict[str, Row], keys: Keys, limits: Limits, keep: int) -> None:
        self._rows = rows
        self._keys = keys
        self._limits = limits
        self._keep = keep
        self._order: deque[Row] = deque()

    def add(self, row: Row) -> None:
        """Take a row that has just ended."""
        self._order.append(row)
        if len(self._order) > self._keep:
            self._remove(self._order.popleft())

    def leave(self, rows: AbstractSet[Row]) -> None:
        """Let go of rows that are to run again."""
        if rows:
            self._order = deque(row for row in self._order if row not in rows)

    def prune(self, now: int, limit: int) -> int:
        """Strip and remove rows past their retention; answer how many, at most *limit*."""
        changed, kept = 0, deque[Row]()
        while self._order and changed < limit:
            row = self._order.popleft()
            keep = self._limits.keep_dead if row.status is Status.DEAD else self._limits.keep_done
            age = (now - row.finished) / 1e6
            if age >= max(keep, self._limits.tombstone) and not self._window_is_open(row, now):
                self._remove(row)
                changed += 1
            else:
                changed += age >= keep and row.strip()
                kept.append(row)
        self._order.extendleft(reversed(kept))
        return changed

    def _window_is_open(self, row: Row, now: int) -> bool:
        return self._keys.holder_for(row.draft, now) is row

    def _remove(self, row: Row) -> None:
        del self._rows[row.draft.id]
        self._keys.drop(row)
