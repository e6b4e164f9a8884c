"""Pushes with a dedup key: one live task of a queue for each key."""

from __future__ import annotations

from collections.abc import Sequence

from layered.backend import Pushed
from layered.backends.postgres.notes import metadata_text, micros
from layered.backends.postgres.push import insert
from layered.backends.postgres.queries import named
from layered.backends.postgres.within import Executes
from layered.errors import Conflict
from layered.task import Dedup, Draft, OnConflict, Status, to_micros


async def insert_one_by_one(
    connection: Executes, schema: str, drafts: Sequence[Draft]
) -> Sequence[Pushed]:
    """See `Backend.insert`; for drafts with dedup keys, all or nothing."""
    async with connection.together():
        return [await _insert(connection, schema, draft) for draft in drafts]


async def _insert(connection: Executes, schema: str, draft: Draft) -> Pushed:
    sql, dedup = named("push.sql", schema), draft.dedup
    # A push that is repeated is answered by its id, whoever holds the key by now.
    if dedup is not None and await state(connection, schema, draft.id) is None:
        holder = await hold(connection, schema, draft.queue, dedup, draft.id)
        if holder != draft.id:
            if dedup.on_conflict is OnConflict.REPLACE:
                cursor = await connection.execute(sql["replace"], _replacing(draft, dedup, holder))
                for (now,) in await cursor.fetchall():
                    return Pushed(holder, Status(now), replaced=True)
            return await _met(connection, schema, draft, dedup, holder)
    return (await insert(connection, schema, [draft]))[0]


async def hold(connection: Executes, schema: str, queue: str, dedup: Dedup, task: str) -> str:
    """Give a key to a task if it is free; answer the task that holds it now."""
    cursor = await connection.execute(
        named("push.sql", schema)["hold"],
        {"queue": queue, "key": dedup.key, "id": task, "window": micros(dedup.window)},
    )
    ((holder,),) = await cursor.fetchall()
    return str(holder)


async def state(connection: Executes, schema: str, task: str) -> Status | None:
    """Read a task's state; `None` if there is none."""
    cursor = await connection.execute(named("push.sql", schema)["states"], {"ids": [task]})
    for _, number in await cursor.fetchall():
        return Status(number)
    return None


async def _met(
    connection: Executes, schema: str, draft: Draft, dedup: Dedup, holder: str
) -> Pushed:
    """Do what a draft says whose key is held by a task that is not to be replaced."""
    stands = await state(connection, schema, holder)
    if dedup.on_conflict is OnConflict.REJECT:
        told = "gone" if stands is None else stands.label
        msg = (
            f"pushing task {draft.name!r} to queue {draft.queue!r}: task {holder} "
            f"({told}) holds its dedup key {dedup.key!r}; nothing was stored; "
            "wait for its end, or push with OnConflict.KEEP or REPLACE"
        )
        raise Conflict(msg)
    return Pushed(holder, stands)


def _replacing(draft: Draft, dedup: Dedup, holder: str) -> dict[str, object]:
    return {
        "id": holder,
        "queue": draft.queue,
        "key": dedup.key,
        "window": micros(dedup.window),
        "name": draft.name,
        "priority": draft.priority,
        "at": None if draft.at is None else to_micros(draft.at),
        "delay": micros(draft.delay),
        "expires_at": None if draft.expires_at is None else to_micros(draft.expires_at),
        "codec": draft.codec,
        "version": draft.version,
        "metadata": metadata_text(draft.metadata),
        "payload": draft.payload,
    }
