"""How metadata and errors are kept: as JSON text, an array of them for errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from layered.backend import Failure
from layered.task import NO_METADATA

LAST = 253_402_300_799_999_999
"""The last microsecond of the year 9999: as far as `datetime` goes."""


def micros(seconds: float) -> int:
    """Turn seconds into microseconds, at most `LAST`."""
    return int(min(seconds * 1e6, LAST))


def failure_text(failure: Failure) -> str:
    """Encode one error; text that is no Unicode, or that no text may have, is escaped."""
    return json.dumps(failure)


def failures(errors: Sequence[str] | None) -> Sequence[Failure]:
    """Decode the errors."""
    return tuple(Failure(*json.loads(each)) for each in errors) if errors else ()


def metadata_text(metadata: Mapping[str, str]) -> str | None:
    """Encode metadata, `None` for none."""
    return json.dumps(dict(metadata)) if metadata else None


def metadata_of(text: str | None) -> Mapping[str, str]:
    """Decode metadata."""
    return json.loads(text) if text else NO_METADATA
