"""The workers that have shown themselves."""

from __future__ import annotations

from layered.backend import Beat, Sighting
from layered.task import from_micros

MISSED = 3
"""Beats after which a worker counts as dead."""
KEPT = 24 * 3600 * 1_000_000
"""Microseconds after which it is forgotten."""


class Crew:
    """The last beat of each worker, and when it came."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Beat, int]] = {}

    def beat(self, beat: Beat, now: int) -> None:
        """Note a sign of life."""
        self._seen[beat.owner] = (beat, now)

    def leave(self, owner: str) -> None:
        """Forget a worker, if it is known."""
        self._seen.pop(owner, None)

    def workers(self, now: int) -> list[Sighting]:
        """List the workers by owner."""
        return [
            Sighting(owner, beat.queue, beat.about, from_micros(at), _alive(beat, now - at))
            for owner, (beat, at) in sorted(self._seen.items())
        ]

    def prune(self, now: int) -> None:
        """Forget those that were not seen for a day."""
        self._seen = {owner: seen for owner, seen in self._seen.items() if now - seen[1] < KEPT}


def _alive(beat: Beat, age: int) -> bool:
    return age < MISSED * beat.every * 1e6
