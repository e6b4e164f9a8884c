"""What may be said of a task when it is pushed, and the checks of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from layered.errors import PushRefused
from layered.task import (
    Dedup,
    Draft,
    Kind,
    OnConflict,
    checked_id,
    checked_name,
    new_id,
    to_micros,
)

if TYPE_CHECKING:
    from uuid import UUID


class PushOptions(TypedDict, total=False):
    """
    What may be said of a task when it is pushed.

    id: A UUID of your choice; pushing the same id again stores nothing.
    delay: Seconds (or `timedelta`) until it is due, by the store's clock.
    at: An aware instant at which it is due; wins over *delay*.
    expires_at: An aware instant after which it must not start any more.
    priority: 0 to 9, higher first; default 5.
    max_attempts: Upper bound of runs, whatever the retry policy says.
    max_lost: Runs that may end with a lost worker before it is dead; default 3.
    metadata: Small text values that travel with the task.
    dedup: A key that one live task of the queue holds at a time: a second
        push stores nothing and answers the task that is there. A `Dedup`
        says more: what such a push does, and for how long the key stays
        held. The answer is the storage's, as of the moment of the push.
    """

    id: str | UUID
    delay: float | timedelta
    at: datetime
    expires_at: datetime
    priority: int
    max_attempts: int
    max_lost: int
    metadata: Mapping[str, str]
    dedup: str | Dedup


def checked_draft(kind: Kind[Any], queue: str, options: PushOptions) -> Draft:
    """
    Make a draft of *options*, the arguments not yet encoded.

    Raises:
        PushRefused: if an option is unknown or out of range.
    """
    if unknown := sorted(options.keys() - PushOptions.__annotations__.keys()):
        known = ", ".join(sorted(PushOptions.__annotations__))
        msg = f"pushing task {kind.name!r}: unknown option {unknown[0]!r}; known are {known}"
        raise PushRefused(msg)
    delay = options.get("delay", 0.0)
    metadata: Any = options.get("metadata", {})
    draft = Draft(
        id="",
        queue=queue,
        name=kind.name,
        payload=b"",
        codec=kind.codec.name,
        version=kind.version,
        metadata=dict(metadata) if isinstance(metadata, Mapping) else metadata,
        priority=options.get("priority", 5),
        delay=delay.total_seconds() if isinstance(delay, timedelta) else delay,
        at=options.get("at"),
        expires_at=options.get("expires_at"),
        max_attempts=options.get("max_attempts"),
        max_lost=options.get("max_lost", 3),
        dedup=_dedup(kind, options.get("dedup")),
    )
    _check(draft)
    try:
        for instant in (draft.at, draft.expires_at):
            if instant is not None:
                to_micros(instant)
        return draft._replace(id=checked_id(options["id"]) if "id" in options else new_id())
    except ValueError as error:
        msg = f"pushing task {kind.name!r}: {error}"
        raise PushRefused(msg) from error


def check_many(options: PushOptions) -> None:
    """
    Check the options of several tasks.

    Raises:
        PushRefused: if there is one that each task needs for itself.
    """
    for own in ("id", "dedup"):
        if own in options:
            msg = f"push_many takes no {own!r}: every task needs its own; use push(..., {own}=...)"
            raise PushRefused(msg)


def without_dedups(kind: Kind[Any], storage: object) -> PushRefused:
    """Make the error of a storage that keeps no dedup keys."""
    msg = f"pushing task {kind.name!r}: {storage!r} keeps no dedup keys; leave 'dedup' out"
    return PushRefused(msg)


def _dedup(kind: Kind[Any], wanted: str | Dedup | None) -> Dedup | None:
    if wanted is None:
        return None
    dedup = wanted if isinstance(wanted, Dedup) else Dedup(wanted)
    what = f"pushing task {kind.name!r}: dedup"
    checked_name(f"{what} key", dedup.key)
    if not isinstance(dedup.on_conflict, OnConflict):
        msg = f"{what} must have an OnConflict such as OnConflict.KEEP, got {dedup.on_conflict!r}"
        raise PushRefused(msg)
    if not _is_seconds(dedup.window):
        msg = f"{what} window must be 0 or more seconds, got {dedup.window!r}"
        raise PushRefused(msg)
    return dedup


def _check(draft: Draft) -> None:
    most = draft.max_attempts
    rules = (
        ("delay", _is_seconds(draft.delay), "0 or more seconds"),
        ("priority", _is_whole(draft.priority, range(10)), "0 to 9"),
        ("max_attempts", most is None or _is_whole(most, _RUNS), _RUNS_TEXT),
        ("max_lost", _is_whole(draft.max_lost, _RUNS), _RUNS_TEXT),
        ("metadata", _is_text_mapping(draft.metadata), "a mapping of text to text"),
        ("at", _is_instant(draft.at), _INSTANT),
        ("expires_at", _is_instant(draft.expires_at), _INSTANT),
    )
    for option, holds, wanted in rules:
        if not holds:
            got = getattr(draft, option)
            msg = f"pushing task {draft.name!r}: {option} must be {wanted}, got {got!r}"
            raise PushRefused(msg)


_RUNS = range(1, 2**31)  # what every store can count
_RUNS_TEXT = f"a whole number, {_RUNS.start} to {_RUNS.stop - 1}"
_INSTANT = "an aware datetime, such as datetime.now(UTC)"


def _is_seconds(span: object) -> bool:
    return isinstance(span, int | float) and 0 <= span <= sys.float_info.max


def _is_whole(number: object, allowed: range) -> bool:
    return isinstance(number, int) and number in allowed


def _is_text_mapping(metadata: object) -> bool:
    return isinstance(metadata, Mapping) and all(
        isinstance(text, str) for text in (*metadata.keys(), *metadata.values())
    )


def _is_instant(instant: object) -> bool:
    return instant is None or isinstance(instant, datetime)
