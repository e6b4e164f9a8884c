"""Group commit: what several callers push meanwhile goes to the server as one statement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio

from layered.errors import BackendClosed, Full, Transient

T = TypeVar("T")
R = TypeVar("R")

MOST = 1000
"""Most items of one statement, unless one caller brings more."""
BYTES = 16 << 20
"""Most bytes of them, the same."""


class _Ticket(Generic[T, R]):
    """One caller's items, and what became of them."""

    __slots__ = ("answers", "bytes", "error", "items", "over")

    def __init__(self, items: Sequence[T], weight: int) -> None:
        self.items = items
        self.bytes = weight
        self.answers: Sequence[R] | None = None
        self.error: BaseException | None = None
        self.over = anyio.Event()


class Groups(Generic[T, R]):
    """
    Writes the items of concurrent callers together; there is no timer.

    The first caller writes at once. Those who come while it does are
    written together by the one of them who came first.

    Args:
        write: Writes items in one transaction, and answers one by one.
        weigh: Tells the bytes of an item.
    """

    __slots__ = ("_turn", "_waiting", "_weigh", "_write")

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        weigh: Callable[[T], int],
    ) -> None:
        self._write = write
        self._weigh = weigh
        self._turn = anyio.Lock(fast_acquire=True)
        self._waiting: list[_Ticket[T, R]] = []

    async def write(self, items: Sequence[T]) -> Sequence[R]:
        """
        Write *items*, all or nothing.

        Cancellation:
            Before its turn: nothing was written. Later it is written
            wholly or not at all; whoever writes for others too goes on
            until that is known.
        """
        ticket = _Ticket[T, R](items, sum(map(self._weigh, items)))
        self._waiting.append(ticket)
        try:
            async with self._turn:
                if self._waiting and not ticket.over.is_set():
                    await self._lead()
        finally:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
        if ticket.error is not None:
            raise ticket.error
        if ticket.answers is None:
            msg = "the write was given up; try again"
            raise Transient(msg)
        return ticket.answers

    async def _lead(self) -> None:
        group = [self._waiting.pop(0)]
        count, size = len(group[0].items), group[0].bytes
        while self._waiting:
            count += len(self._waiting[0].items)
            size += self._waiting[0].bytes
            if count > MOST or size > BYTES:
                break
            group.append(self._waiting.pop(0))
        if len(group) == 1:
            await self._alone(group[0])
            return
        answers: Sequence[R] = ()
        with anyio.CancelScope(shield=True):
            try:
                answers = await self._write([item for ticket in group for item in ticket.items])
            except (Transient, Full, BackendClosed) as error:  # of the store, so of all
                for ticket in group:
                    ticket.error = error
                    ticket.over.set()
                return
            except Exception:  # noqa: BLE001 - one of them may be to blame: each learns by itself
                for ticket in group:
                    await self._alone(ticket)
                return
        start = 0
        for ticket in group:
            ticket.answers = answers[start : start + len(ticket.items)]
            start += len(ticket.items)
            ticket.over.set()

    async def _alone(self, ticket: _Ticket[T, R]) -> None:
        try:
            ticket.answers = await self._write(ticket.items)
        except Exception as error:  # noqa: BLE001 - the caller's, who raises it
            ticket.error = error
        finally:
            ticket.over.set()
