"""What holds of all that lies in a store, at every moment and from one moment to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from layered.task import Status


class Row(NamedTuple):
    """One task as it lies in the store; instants in the store's own unit."""

    id: str
    queue: str
    state: int
    due_at: int
    finished_at: int | None
    attempt: int
    max_attempts: int | None
    lost: int
    max_lost: int
    epoch: int
    claim_id: bytes | None
    owner: str | None
    lease: int | None
    lease_until: int | None
    settled_claim: bytes | None
    settled_op: str | None
    cancel_requested: int
    dedup_key: str | None
    payload: bytes | None
    progress: bytes | None
    result: bytes | None
    errors: str | None


Rows: TypeAlias = Mapping[str, Row]

COLUMNS = ", ".join(Row._fields)


class Store(NamedTuple):
    """
    The tasks, and what is kept beside them.

    Args:
        rows: The tasks by id.
        keys: Queue and dedup key to the id of the task that has it, or had it last.
        steps: Id and step to what is kept of it.
    """

    rows: Rows
    keys: Mapping[tuple[str, str], str]
    steps: Mapping[tuple[str, str], bytes]


S = Status
OPERATIONS: Mapping[Status, set[str | None]] = {
    S.DONE: {"done"},
    S.DEAD: {"dead", "retry", "reaped"},
    S.CANCELLED: {None, "cancelled", "retry", "release", "reaped", "dead"},
}
"""
What may have ended the last run, by the state that the task is in now.

A user cancels before the first run, between two, or one that was requeued.
"""

MOVES = {
    S.SCHEDULED: {S.READY, S.RUNNING, S.DEAD, S.CANCELLED},
    S.RETRY: {S.SCHEDULED, S.READY, S.RUNNING, S.DEAD, S.CANCELLED},
    S.READY: {S.SCHEDULED, S.RUNNING, S.DEAD, S.CANCELLED},
    S.RUNNING: {S.DONE, S.RETRY, S.SCHEDULED, S.READY, S.DEAD, S.CANCELLED},
    S.DEAD: {S.READY},
    S.CANCELLED: {S.READY},
}
"""
Where one operation may take a task.

A claim takes a due one from the future to its run, a push that replaces
one from anywhere to the future.
"""


def ran(row: Row) -> bool:
    """Tell whether the task was ever claimed."""
    return row.epoch > 0


AT_ANY_TIME: Mapping[str, Callable[[Row], bool]] = {
    "the state is one of Status": lambda row: row.state in set(Status),
    "a claim leaves epoch, claim id, owner and lease together": lambda row: (
        {ran(row)}
        == {value is not None for value in (row.claim_id, row.owner, row.lease, row.lease_until)}
    ),
    "a claim id has 128 bits": lambda row: row.claim_id is None or len(row.claim_id) == 16,
    "what runs was claimed": lambda row: row.state != S.RUNNING or ran(row),
    "what runs is not settled": lambda row: (
        row.state != S.RUNNING or row.settled_claim != row.claim_id
    ),
    "what does not run has its last claim settled": lambda row: (
        row.state == S.RUNNING or row.settled_claim == row.claim_id
    ),
    "a settled claim names its operation": lambda row: (
        (row.settled_claim is None) == (row.settled_op is None)
    ),
    "an end fits the operation that made it": lambda row: (
        row.state not in OPERATIONS
        or row.settled_op in OPERATIONS[S(row.state)]
        or (row.state == S.DEAD and '"expired"' in (row.errors or ""))
    ),
    "only an end has its time": lambda row: (row.state >= S.DONE) == (row.finished_at is not None),
    "only a task that is done has a result": lambda row: row.result is None or row.state == S.DONE,
    "a run is charged once": lambda row: 0 <= row.attempt <= row.epoch,
    "attempts keep their limit": lambda row: (
        row.max_attempts is None or row.attempt <= row.max_attempts
    ),
    "losses keep their limit": lambda row: row.lost <= min(row.max_lost, row.epoch),
    "what is asked to stop runs or has ended": lambda row: (
        not row.cancel_requested or row.state >= S.RUNNING
    ),
    "what is live has its arguments": lambda row: row.payload is not None or row.state >= S.DONE,
}


def was_requeued(old: Row, new: Row) -> bool:
    """Tell whether a user had it run again."""
    return old.state in {S.DEAD, S.CANCELLED} and new.state == S.READY


def may_be_replaced(old: Row) -> bool:
    """Tell whether another push may put its arguments in place of these."""
    return old.dedup_key is not None and old.state < S.RUNNING


FROM_ONE_TO_THE_NEXT: Mapping[str, Callable[[Row, Row], bool]] = {
    "a move is legal": lambda old, new: (
        old.state == new.state or S(new.state) in MOVES.get(S(old.state), set())
    ),
    "the epoch never falls": lambda old, new: old.epoch <= new.epoch,
    "an epoch is one claim": lambda old, new: (
        (old.epoch == new.epoch) == (old.claim_id == new.claim_id)
    ),
    "losses never fall": lambda old, new: old.lost <= new.lost or was_requeued(old, new),
    "a request to stop is not forgotten": lambda old, new: (
        old.cancel_requested <= new.cancel_requested or was_requeued(old, new)
    ),
    "a key is not changed": lambda old, new: old.dedup_key == new.dedup_key,
    "the payload stays, unless it is pruned": lambda old, new: (
        old.payload == new.payload
        or (old.state >= S.DONE and not new.payload)
        or may_be_replaced(old)
    ),
    "a result stays, unless it is pruned": lambda old, new: (
        old.state < S.DONE or old.result == new.result or new.result is None
    ),
    "an end keeps its time": lambda old, new: (
        old.state < S.DONE or old.finished_at == new.finished_at or was_requeued(old, new)
    ),
}


def broken(store: Store) -> list[str]:
    """Name what does not hold of a store, with the row."""
    rows, keys, steps = store
    found = [
        f"{what}: {row}"
        for row in rows.values()
        for what, holds in AT_ANY_TIME.items()
        if not holds(row)
    ]
    found += [
        f"what is live holds its key: {row}"
        for row in rows.values()
        if row.state < S.DONE
        and row.dedup_key is not None
        and keys.get((row.queue, row.dedup_key)) != row.id
    ]
    found += [
        f"a key is of a task that asked for it: {key} of {id_}"
        for key, id_ in keys.items()
        if id_ not in rows or (rows[id_].queue, rows[id_].dedup_key) != key
    ]
    found += [
        f"a step is of a task with arguments: {step!r} of {id_}"
        for id_, step in steps
        if id_ not in rows or rows[id_].payload is None
    ]
    return found


def broken_between(old: Store, new: Store) -> list[str]:
    """Name what does not hold from *old* to *new*; only what has ended may be gone."""
    gone = [row for row in old.rows.values() if row.id not in new.rows and row.state < S.DONE]
    found = [f"only what has ended is removed: {row}" for row in gone]
    found += [
        f"{what}: {old.rows[id_]} became {row}"
        for id_, row in new.rows.items()
        if id_ in old.rows
        for what, holds in FROM_ONE_TO_THE_NEXT.items()
        if not holds(old.rows[id_], row)
    ]
    found += [
        f"a step is kept as it was first: {step!r} of {id_}"
        for (id_, step), value in old.steps.items()
        if id_ in new.rows
        and new.rows[id_].payload is not None
        and new.steps.get((id_, step)) != value
    ]
    return found


def outline(rows: Rows) -> Mapping[str, Row]:
    """Leave out what chance decides: claim ids and when a lost task comes back."""
    return {
        id_: row._replace(
            claim_id=row.claim_id and b"claimed",
            settled_claim=row.settled_claim and b"settled",
            due_at=0 if row.settled_op == "reaped" else row.due_at,
        )
        for id_, row in rows.items()
    }
