"""One task in memory, and what is made of it."""

from __future__ import annotations

from copy import copy
from typing import Any

from layered.backend import Claimant, Failure, Record, Summary
from layered.task import Draft, Fence, Lease, Status, from_micros

ERRORS_KEPT = 5
FOREVER = float("inf")


class Row:
    """One task: what was pushed, and all that has happened to it since."""

    __slots__ = (
        "attempt",
        "cancel_requested",
        "claim_id",
        "created",
        "draft",
        "due",
        "epoch",
        "errors",
        "finished",
        "lease_until",
        "lost",
        "owner",
        "progress",
        "result",
        "run_deadline",
        "settled",
        "status",
        "steps",
        "stripped",
    )

    def __init__(self, draft: Draft, now: int, due: int) -> None:
        self.draft = draft
        self.created = now
        self.due = due
        self.status = Status.SCHEDULED
        self.attempt = self.lost = self.epoch = 0
        self.claim_id = b""
        self.owner: str | None = None
        self.lease_until = 0.0
        self.run_deadline = FOREVER
        self.cancel_requested = self.stripped = False
        self.result: bytes | None = None
        self.progress: bytes | None = None
        self.steps: dict[str, bytes] | None = None
        self.errors: tuple[Failure, ...] = ()
        self.settled: tuple[bytes, str] | None = None
        self.finished = 0

    @property
    def exhausted(self) -> bool:
        """Whether no further run is allowed by the task's own bound."""
        return self.draft.max_attempts is not None and self.attempt >= self.draft.max_attempts

    def note(self, failure: Failure) -> None:
        """Keep *failure* among the last few."""
        self.errors = (*self.errors, failure)[-ERRORS_KEPT:]

    def run(self, claimant: Claimant, claim_id: bytes, mono: float) -> Lease:
        """Move to ``running`` for *claimant*, and answer the lease."""
        draft = self.draft
        self.status = Status.RUNNING
        self.epoch += 1
        self.attempt += 1
        self.claim_id = claim_id
        self.owner = claimant.owner
        self.lease_until = mono + claimant.lease
        self.run_deadline = FOREVER if claimant.max_run is None else mono + claimant.max_run
        return Lease(
            Fence(draft.id, self.epoch, claim_id),
            draft.queue,
            draft.name,
            draft.payload,
            draft.codec,
            draft.version,
            draft.metadata,
            draft.priority,
            self.attempt,
            draft.max_attempts,
            self.lost,
            self.due,
            self.created,
        )

    def replaced(self, draft: Draft, due: int) -> Row:
        """Make a row of the same task that does what *draft* says, in place of this one."""
        row = copy(self)
        row.due = due
        row.draft = self.draft._replace(
            name=draft.name,
            payload=draft.payload,
            codec=draft.codec,
            version=draft.version,
            metadata=draft.metadata,
            priority=draft.priority,
            expires_at=draft.expires_at,
            dedup=draft.dedup,
        )
        return row

    def requeue(self, now: int) -> None:
        """Be as one that has not run, but for the epoch and the errors."""
        self.due = now
        self.attempt = self.lost = self.finished = 0
        self.cancel_requested = False
        self.draft = self.draft._replace(expires_at=None)

    def strip(self) -> bool:
        """Make a tombstone: drop what may be large; tell whether it was none."""
        if self.stripped:
            return False
        self.stripped = True
        self.draft = self.draft._replace(payload=b"", metadata={})
        self.result = self.progress = self.steps = None
        self.errors = ()
        return True

    def summary(self) -> Summary:
        """Answer what is known of the task, without what may be large."""
        return Summary(**self._summary())

    def record(self) -> Record:
        """Answer all that is known of the task."""
        draft = self.draft
        return Record(
            **self._summary(),
            payload=draft.payload,
            codec=draft.codec,
            version=draft.version,
            metadata=dict(draft.metadata),
            result=self.result,
            errors=self.errors,
            progress=self.progress,
        )

    def _summary(self) -> dict[str, Any]:
        draft = self.draft
        return {
            "id": draft.id,
            "queue": draft.queue,
            "name": draft.name,
            "status": self.status,
            "priority": draft.priority,
            "attempt": self.attempt,
            "max_attempts": draft.max_attempts,
            "lost": self.lost,
            "epoch": self.epoch,
            "owner": self.owner,
            "due_at": from_micros(self.due),
            "created_at": from_micros(self.created),
            "finished_at": from_micros(self.finished) if self.finished else None,
            "cancel_requested": self.cancel_requested,
            "dedup_key": draft.dedup.key if draft.dedup else None,
        }
