"""How metadata and errors are kept: as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from layered.backend import Failure
from layered.task import NO_METADATA

ERRORS_KEPT = 5


def failure_text(failure: Failure) -> str:
    """Encode one error; text that is no Unicode is escaped."""
    return json.dumps(failure)


def noted(errors: str | None, failure: str) -> str:
    """Add an encoded error to the encoded list of the last few; SQL calls it too."""
    kept = json.loads(errors) if errors else []
    return json.dumps([*kept, json.loads(failure)][-ERRORS_KEPT:])


def failures(errors: str | None) -> Sequence[Failure]:
    """Decode the list of errors."""
    return tuple(Failure(*each) for each in json.loads(errors)) if errors else ()


def metadata_text(metadata: Mapping[str, str]) -> str | None:
    """Encode metadata, `None` for none."""
    return json.dumps(dict(metadata)) if metadata else None


def metadata_of(text: str | None) -> Mapping[str, str]:
    """Decode metadata."""
    return json.loads(text) if text else NO_METADATA
