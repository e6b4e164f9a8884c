"""What is stored, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nlargest

from layered.backend import SCANNED, Filter, Page, Summary
from layered.backends.memory.rows import Row
from layered.task import Status, to_micros


def page(rows: Mapping[str, Row], wanted: Filter, after: str | None, limit: int) -> Page:
    """Answer a page of the rows that are wanted; looks at every id, and at a part of the rows."""
    bound = max(SCANNED, limit)
    ids = nlargest(bound + 1, [one for one in rows if after is None or one < after])
    found: list[Summary] = []
    for looked_at, task_id in enumerate(ids):
        if looked_at == bound or len(found) == limit:
            return Page(found, ids[looked_at - 1])
        if _fits(row := rows[task_id], wanted):
            found.append(row.summary())
    return Page(found, None)


def counts(rows: Mapping[str, Row], queue: str) -> dict[str, dict[Status, int]]:
    """Count rows by name and state; looks at every one."""
    found: dict[str, dict[Status, int]] = {}
    for row in rows.values():
        if row.draft.queue == queue:
            states = found.setdefault(row.draft.name, {})
            states[row.status] = states.get(row.status, 0) + 1
    return found


def _fits(row: Row, wanted: Filter) -> bool:
    draft = row.draft
    return (
        (wanted.queue is None or draft.queue == wanted.queue)
        and (not wanted.names or draft.name in wanted.names)
        and (not wanted.statuses or row.status in wanted.statuses)
        and (wanted.since is None or row.created >= to_micros(wanted.since))
        and (wanted.until is None or row.created < to_micros(wanted.until))
        and (wanted.error is None or wanted.error in [last.type for last in row.errors[-1:]])
    )
