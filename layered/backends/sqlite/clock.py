"""The two clocks of an SQLite store, in microseconds."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

MAX_INSTANT = 253_402_300_799_999_999
"""The last microsecond of the year 9999: as far as `datetime` goes."""


@attrs.frozen
class Clock:
    """
    Reads the time, inside the transaction that uses it.

    Args:
        now: The wall clock, seconds since 1970: due times, expiry, ends.
        monotonic: The machine's monotonic clock, the same in all its
            processes: leases, which a step of the wall clock must not end.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def wall(self) -> int:
        """Read the wall clock."""
        return round(self.now() * 1e6)

    def mono(self) -> int:
        """Read the monotonic clock."""
        return int(self.monotonic() * 1e6)


def after(instant: int, seconds: float) -> int:
    """Answer the instant *seconds* later, at most `MAX_INSTANT`."""
    return int(min(instant + seconds * 1e6, MAX_INSTANT))
