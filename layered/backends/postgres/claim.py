"""Claim: promote what is due, take the best of the wanted names, lease them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_bytes
from typing import Any, NamedTuple

from layered.backend import Claimant, Claimed
from layered.backends.postgres.arrays import Texts, plain
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.notes import metadata_of, micros
from layered.backends.postgres.queries import named
from layered.task import Fence, Lease


class Found(NamedTuple):
    """What one look found: leases, rows that had expired, seconds to the next due one."""

    leases: Sequence[Lease]
    expired: int
    next_due_in: float | None
    paused_for: float | None


async def claim(
    connection: Connection,
    schema: str,
    claimant: Claimant,
    wanted: Mapping[str, int],
    most: int,
    *,
    due: bool,
) -> Claimed:
    """
    See `Backend.claim`.

    Args:
        connection: Where to.
        schema: The schema, quoted.
        claimant: Who claims.
        wanted: Most tasks by name.
        most: Most tasks.
        due: Whether a future task is thought to be due: then promoting
            comes first, which else is done when the claim tells of one.
    """
    # Without a limit of its own a name may be wanted more often than a column can say.
    left = {name: min(limit, most) for name, limit in wanted.items() if limit > 0}
    if not left:
        return Claimed([])
    if due:
        await _promote(connection, schema, claimant.queue, left, most)
    found = await _look(connection, schema, claimant, left, most, promoted=due)
    if found.next_due_in == 0.0 and not due and found.paused_for is None:
        await _promote(connection, schema, claimant.queue, left, most)
        found = await _look(connection, schema, claimant, left, most, promoted=True)
    leases = [*found.leases]
    if found.expired:  # they took the place of others: a second look, and no third
        for lease in leases:
            left[lease.name] -= 1
        left = {name: limit for name, limit in left.items() if limit > 0}
        if left and len(leases) < most:
            rest = most - len(leases)
            second = await _look(connection, schema, claimant, left, rest, promoted=True)
            leases += second.leases
    if found.paused_for is not None:
        forever = found.paused_for < 0
        return Claimed([], False, None if forever else found.paused_for)  # noqa: FBT003 - a tuple
    more = len(leases) == most or found.expired > 0 or found.next_due_in == 0.0
    return Claimed(leases, more, found.next_due_in)


async def _promote(
    connection: Connection, schema: str, queue: str, names: Mapping[str, int], most: int
) -> None:
    await connection.execute(
        named("claim.sql", schema)["promote"],
        {"queue": queue, "names": Texts.of(names), "most": most},
    )


async def _look(
    connection: Connection,
    schema: str,
    claimant: Claimant,
    wanted: Mapping[str, int],
    most: int,
    *,
    promoted: bool,
) -> Found:
    claim_id = token_bytes(16)
    cursor = await connection.execute(
        named("claim.sql", schema)["claim"],
        {
            "queue": claimant.queue,
            "names": Texts.of(wanted),
            "mosts": plain(wanted.values()),
            "most": most,
            "promoted": promoted,
            "claim": claim_id.hex(),
            "owner": claimant.owner,
            "lease": micros(claimant.lease),
            "max_run": None if claimant.max_run is None else micros(claimant.max_run),
        },
        binary=True,
    )
    rows = await cursor.fetchall()
    (_, now, _, _, _, expired, _, _, _, _, _, due, until) = rows.pop()
    leases = _leases(rows, claimant.queue, claim_id)
    return Found(leases, expired, _until(due, now), _until(until, now))


def _leases(rows: Sequence[tuple[Any, ...]], queue: str, claim_id: bytes) -> Sequence[Lease]:
    """Make leases of rows as the statement ``claim`` returns them, the best first."""
    leases = [
        Lease(
            Fence(id_, epoch, claim_id),
            queue,
            name,
            payload,
            codec,
            version,
            metadata_of(metadata),
            priority,
            attempt,
            max_attempts,
            lost,
            due_at,
            created_at,
        )
        for (
            id_, epoch, name, payload, codec, version, metadata, priority, attempt, max_attempts,
            lost, due_at, created_at,
        ) in rows
    ]  # fmt: skip
    leases.sort(key=_order)
    return leases


def _order(lease: Lease) -> tuple[int, int, str]:
    return -lease.priority, lease.due_at, lease.fence.id


def _until(instant: int | None, now: int) -> float | None:
    """Answer the seconds until an instant; -1 stands for never."""
    if instant is None or instant < 0:
        return None if instant is None else -1.0
    return max(instant - now, 0) / 1e6
