"""Renew and reap: what becomes of leases."""

from __future__ import annotations

from collections.abc import Sequence

from layered.backend import Reaped, Renew, Renewal
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.notes import micros
from layered.backends.postgres.queries import named
from layered.backends.postgres.settle import fences
from layered.task import Status


async def renew(
    connection: Connection, schema: str, items: Sequence[Renew], lease: float
) -> Sequence[Renewal]:
    """See `Backend.renew`; one statement, however many the items."""
    values = fences([item.fence for item in items], [item.attempt for item in items])
    values["lease"] = micros(lease)
    cursor = await connection.execute(named("lease.sql", schema)["renew"], values)
    held = {tuple(fence): cancel for *fence, cancel in await cursor.fetchall()}
    answers = {None: Renewal.STALE, False: Renewal.OK, True: Renewal.CANCEL}
    return [answers[held.get((fence.id, fence.epoch, fence.claim_id.hex()))] for fence, _ in items]


async def reap(connection: Connection, schema: str, limit: int) -> Sequence[Reaped]:
    """See `Backend.reap`."""
    cursor = await connection.execute(named("lease.sql", schema)["reap"], {"limit": limit})
    return [Reaped(id_, name, Status(state)) for id_, name, state in await cursor.fetchall()]
