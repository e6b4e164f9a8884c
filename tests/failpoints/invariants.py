"""What holds of the raw rows of any store, at every moment and from one moment to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from layered.task import Status


class Row(NamedTuple):
    """One task as it lies in the store; instants in the store's own unit."""

    id: str
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
    payload: bytes
    result: bytes | None
    errors: str | None


Rows: TypeAlias = Mapping[str, Row]

COLUMNS = ", ".join(Row._fields)

S = Status
OPERATIONS = {
    S.DONE: {"done"},
    S.DEAD: {"dead", "retry", "reaped"},
    S.CANCELLED: {"cancelled", "reaped"},
}
"""What may have ended a run, by the state that the task is in now."""

MOVES = {
    S.SCHEDULED: {S.READY, S.RUNNING, S.DEAD, S.CANCELLED},
    S.RETRY: {S.READY, S.RUNNING, S.DEAD, S.CANCELLED},
    S.READY: {S.RUNNING, S.DEAD, S.CANCELLED},
    S.RUNNING: {S.DONE, S.RETRY, S.SCHEDULED, S.READY, S.DEAD, S.CANCELLED},
}
"""Where one operation may take a task; a claim takes a due one from the future to its run."""


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
}

FROM_ONE_TO_THE_NEXT: Mapping[str, Callable[[Row, Row], bool]] = {
    "a move is legal": lambda old, new: (
        old.state == new.state or S(new.state) in MOVES.get(S(old.state), set())
    ),
    "the epoch never falls": lambda old, new: old.epoch <= new.epoch,
    "an epoch is one claim": lambda old, new: (
        (old.epoch == new.epoch) == (old.claim_id == new.claim_id)
    ),
    "losses never fall": lambda old, new: old.lost <= new.lost,
    "the payload stays, unless it is pruned": lambda old, new: (
        old.payload == new.payload or (old.state >= S.DONE and not new.payload)
    ),
    "a result stays, unless it is pruned": lambda old, new: (
        old.state < S.DONE or old.result == new.result or new.result is None
    ),
    "an end keeps its time": lambda old, new: (
        old.state < S.DONE or old.finished_at == new.finished_at
    ),
}


def broken(rows: Rows) -> list[str]:
    """Name what does not hold of *rows*, with the row."""
    return [
        f"{what}: {row}"
        for row in rows.values()
        for what, holds in AT_ANY_TIME.items()
        if not holds(row)
    ]


def broken_between(old: Rows, new: Rows) -> list[str]:
    """Name what does not hold from *old* to *new*; only what has ended may be gone."""
    gone = [row for row in old.values() if row.id not in new and row.state < S.DONE]
    return [f"only what has ended is removed: {row}" for row in gone] + [
        f"{what}: {old[id_]} became {row}"
        for id_, row in new.items()
        if id_ in old
        for what, holds in FROM_ONE_TO_THE_NEXT.items()
        if not holds(old[id_], row)
    ]


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
