"""What may be said of a task when it is pushed, and the checks of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from layered.errors import PushRefused
from layered.task import Draft, Kind, checked_id, new_id, to_micros

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
    """

    id: str | UUID
    delay: float | timedelta
    at: datetime
    expires_at: datetime
    priority: int
    max_attempts: int
    max_lost: int
    metadata: Mapping[str, str]


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


def _check(draft: Draft) -> None:
    rules = (
        ("delay", _at_least(0, draft.delay), "0 or more seconds"),
        ("priority", draft.priority in range(10), "0 to 9"),
        ("max_attempts", draft.max_attempts is None or _at_least(1, draft.max_attempts), _RUNS),
        ("max_lost", _at_least(1, draft.max_lost), _RUNS),
        ("metadata", _is_text_mapping(draft.metadata), "a mapping of text to text"),
        ("at", _is_instant(draft.at), _INSTANT),
        ("expires_at", _is_instant(draft.expires_at), _INSTANT),
    )
    for option, holds, wanted in rules:
        if not holds:
            got = getattr(draft, option)
            msg = f"pushing task {draft.name!r}: {option} must be {wanted}, got {got!r}"
            raise PushRefused(msg)


_RUNS = "1 or more"
_INSTANT = "an aware datetime, such as datetime.now(UTC)"


def _at_least(least: int, number: object) -> bool:
    return isinstance(number, int | float) and math.isfinite(number) and number >= least


def _is_text_mapping(metadata: object) -> bool:
    return isinstance(metadata, Mapping) and all(
        isinstance(text, str) for text in (*metadata.keys(), *metadata.values())
    )


def _is_instant(instant: object) -> bool:
    return instant is None or isinstance(instant, datetime)
