"""What a worker tells of itself in its beats, and what others read of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import attrs

from layered.backend.control import Sighting
from layered.task import JSON


@attrs.frozen(kw_only=True)
class About:
    """
    What a worker says of itself; stored as JSON, and read by other versions, too.

    Args:
        name: The worker's name; workers may share one.
        tasks: The names of the tasks that it handles.
        stack: Its layers, outermost first, and the handler inside them.
        concurrency: Most handlers at once.
        in_flight: Tasks claimed and not yet durably settled.
        state: ``running``, ``paused`` or ``draining``.
        started_at: By the worker's own clock, aware UTC.
    """

    name: str = ""
    tasks: Sequence[str] = ()
    stack: Sequence[str] = ()
    concurrency: int = 0
    in_flight: int = 0
    state: str = ""
    started_at: datetime | None = None

    def encoded(self) -> bytes:
        """Make the bytes of a beat."""
        return _encode(self)


@attrs.frozen(kw_only=True)
class WorkerInfo(About):
    """
    A worker, as its last beat told it; what cannot be read of it is empty.

    Args:
        owner: Its unique id: name/host/pid/uuid.
        queue: The queue that it claims from.
        seen_at: When it was last heard of, by the store's clock.
        alive: Whether that is less than three beats ago.
    """

    owner: str
    queue: str
    seen_at: datetime
    alive: bool

    @classmethod
    def of(cls, seen: Sighting) -> WorkerInfo:
        """Decode what was stored."""
        try:
            about = _decode(seen.about)
        except ValueError:  # of another version, or of no worker of ours
            about = About()
        told = attrs.asdict(about, recurse=False)
        return cls(
            owner=seen.owner, queue=seen.queue, seen_at=seen.seen_at, alive=seen.alive, **told
        )


_encode: Callable[[About], bytes] = JSON.encoder(About)
_decode: Callable[[bytes], About] = JSON.decoder(About)
