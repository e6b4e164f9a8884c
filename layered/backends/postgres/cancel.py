"""Cancel and requeue: users end tasks, and have ended ones run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layered.backend import Change
from layered.backends.postgres.arrays import plain
from layered.backends.postgres.connection import Connection
from layered.backends.postgres.dedup import hold
from layered.backends.postgres.queries import named
from layered.task import Dedup, Status


async def cancel(connection: Connection, schema: str, ids: Sequence[str]) -> Sequence[Change]:
    """See `Cancels.cancel`."""
    changed = await _changed(connection, schema, "cancel", ids)
    return await _changes(connection, schema, ids, changed, {})


async def requeue(connection: Connection, schema: str, ids: Sequence[str]) -> Sequence[Change]:
    """See `Requeues.requeue`; tasks with keys one by one, for two may have the same."""
    holders: dict[str, str] = {}
    changed: dict[str, Status] = {}
    async with connection.together():
        sql = named("cancel.sql", schema)["keyed"]
        keyed = await (await connection.execute(sql, {"ids": plain(ids)})).fetchall()
        for id_, queue, key in keyed:
            holder = await hold(connection, schema, queue, Dedup(key), id_)
            if holder == id_:
                changed |= await _changed(connection, schema, "requeue", [id_])
            else:
                holders[id_] = holder
        rest = [id_ for id_ in ids if id_ not in holders and id_ not in changed]
        changed |= await _changed(connection, schema, "requeue", rest)
    return await _changes(connection, schema, ids, changed, holders)


async def _changed(
    connection: Connection, schema: str, name: str, ids: Sequence[str]
) -> dict[str, Status]:
    cursor = await connection.execute(named("cancel.sql", schema)[name], {"ids": plain(ids)})
    return {id_: Status(state) for id_, state in await cursor.fetchall()}


async def _changes(
    connection: Connection,
    schema: str,
    ids: Sequence[str],
    changed: dict[str, Status],
    holders: Mapping[str, str],
) -> Sequence[Change]:
    """Answer each id; an id that is given twice was changed once."""
    states: dict[str, Status] = {}
    if len(changed) < len(ids):
        sql = named("push.sql", schema)["states"]
        cursor = await connection.execute(sql, {"ids": plain(ids)})
        states = {id_: Status(state) for id_, state in await cursor.fetchall()}
    answers = []
    for id_ in ids:
        now = changed.pop(id_, None)
        if now is not None:
            states[id_] = now
        answers.append(Change(id_, states.get(id_), now is not None, holders.get(id_)))
    return answers
