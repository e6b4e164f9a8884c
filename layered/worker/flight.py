"""The tasks in flight: claimed, and not yet durably settled."""

from __future__ import annotations

import anyio

from layered.task import Run


class Flight:
    """
    The runs from claim to durable settle; the keeper renews exactly these.

    Args:
        most: Runs that may be in flight; the fetcher stops at it.
    """

    __slots__ = ("_changed", "_runs", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._runs: set[Run] = set()
        self._changed: anyio.Event | None = None

    def add(self, runs: list[Run]) -> None:
        """Take runs that were claimed."""
        self._runs.update(runs)

    def land(self, runs: list[Run]) -> None:
        """Let go of runs that are durably settled, or lost."""
        self._runs.difference_update(runs)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def snapshot(self) -> list[Run]:
        """List the runs; safe to call from another thread."""
        return list(self._runs)

    @property
    def free(self) -> int:
        """How many more may be claimed."""
        return self.most - len(self._runs)

    async def changed(self) -> None:
        """Wait until something lands."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    async def empty(self) -> None:
        """Wait until nothing is in flight."""
        while self._runs:
            await self.changed()

    def __len__(self) -> int:
        """Count the runs."""
        return len(self._runs)
