"""Task ids: UUID version 7, made by the client, in order of their making."""

from __future__ import annotations

import os
import random
import time
import uuid

_random = random.Random()  # noqa: S311 - ids are unique, not secret; `random.seed` must not reach it
_last = 0
os.register_at_fork(after_in_child=_random.seed)


def new_id() -> str:
    """
    Make a task id: a UUID version 7 in its usual text form.

    Ids made by one process rise, also within a millisecond, so that tasks
    of equal priority and due time keep the order of their pushing.

    Source: RFC 9562 §5.7, with §6.2 method 3 (12 bits of sub-millisecond
    time in rand_a), raised by one where the clock did not move on.
    """
    global _last  # noqa: PLW0603 - one sequence a process is the point
    tick = time.time_ns() * 4096 // 1_000_000  # the last 12 bits are the fraction
    if tick <= _last:
        tick = _last + 1
    _last = tick
    chance = _random.getrandbits(62)
    # Faster by a third than an f-string, which formats each number by a call.
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031
        tick >> 28,
        tick >> 12 & 0xFFFF,
        tick & 0xFFF,
        0x8000 | chance >> 48,
        chance & 0xFFFF_FFFF_FFFF,
    )


def checked_id(text: str | uuid.UUID) -> str:
    """
    Answer a task id in its canonical text form.

    Raises:
        ValueError: if *text* is no UUID.
    """
    if isinstance(text, uuid.UUID):
        return str(text)
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError) as error:
        way_out = "pass its 'id'" if hasattr(text, "id") else "pass a UUID, such as uuid.uuid4()"
        msg = f"a task id must be a UUID, got {text!r}; {way_out}"
        raise ValueError(msg) from error
