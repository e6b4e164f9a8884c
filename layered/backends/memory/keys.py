"""Which task holds which dedup key."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from layered.backends.memory.rows import Row
from layered.errors import Conflict
from layered.task import Draft, OnConflict


class Keys:
    """
    The keys that were ever taken, each with the task that took it last, and until when at least.

    Nothing is done when a task ends: whether its key is free is looked at
    when somebody wants it.
    """

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], tuple[Row, int]] = {}

    def holder(self, queue: str, key: str, now: int) -> Row | None:
        """Answer the row that holds a key: a live one, or one whose window is open."""
        row, until = self._taken.get((queue, key), (None, 0))
        return row if row is not None and (not row.status.is_terminal or now < until) else None

    def holder_for(self, draft: Draft, now: int) -> Row | None:
        """Answer the row that holds the key of *draft*; `None` if it has none, or that is free."""
        return None if draft.dedup is None else self.holder(draft.queue, draft.dedup.key, now)

    def admit(self, drafts: Iterable[Draft], known: Collection[str], now: int) -> None:
        """
        Look whether tasks may be stored together.

        Args:
            drafts: The tasks; those of *known* ids, or of an id before, are not stored.
            known: The ids of all tasks.
            now: The instant.

        Raises:
            Conflict: if one is to be rejected, and its key is held, or is taken by one before.
        """
        ids, keys = set[str](), set[tuple[str, str]]()
        for draft in drafts:
            if draft.id in known or draft.id in ids:
                continue
            if draft.dedup is not None:
                key = (draft.queue, draft.dedup.key)
                if key in keys or self.holder(*key, now):
                    if draft.dedup.on_conflict is OnConflict.REJECT:
                        raise Conflict(_told(draft.name, *key))
                    continue
                keys.add(key)
            ids.add(draft.id)

    def take(self, row: Row, until: int) -> None:
        """Give a row its key, if it has one, until an instant at least."""
        if row.draft.dedup is not None:
            self._taken[row.draft.queue, row.draft.dedup.key] = (row, until)

    def drop(self, row: Row) -> None:
        """Forget that a row had its key."""
        if row.draft.dedup is not None:
            key = (row.draft.queue, row.draft.dedup.key)
            if key in self._taken and self._taken[key][0] is row:
                del self._taken[key]


def _told(name: str, queue: str, key: str) -> str:
    return (
        f"pushing task {name!r}: dedup key {key!r} of queue {queue!r} is held by another task; "
        "wait until it has ended, or push with OnConflict.KEEP or OnConflict.REPLACE"
    )
