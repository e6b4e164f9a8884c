"""Insert: what is pushed, idempotent by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from layered.backend import Pushed
from layered.backends.postgres.arrays import Blobs, Texts, plain
from layered.backends.postgres.notes import metadata_text, micros
from layered.backends.postgres.queries import named
from layered.backends.postgres.within import Executes
from layered.task import Draft, Status, to_micros

_Common: TypeAlias = tuple[Any, ...]


async def insert(connection: Executes, schema: str, drafts: Sequence[Draft]) -> Sequence[Pushed]:
    """See `Backend.insert`; one statement, and another where some were there already."""
    if not drafts:
        return []
    sql = named("push.sql", schema)
    cursor = await connection.execute(sql["insert"], parameters(drafts))
    new = {id_ for (id_,) in await cursor.fetchall()}
    if len(new) == len(drafts):
        return [Pushed(draft.id) for draft in drafts]
    there = plain(draft.id for draft in drafts)
    cursor = await connection.execute(sql["states"], {"ids": there})
    states = {id_: Status(state) for id_, state in await cursor.fetchall()}
    # What was there, and has been removed meanwhile: once more, until it is one or the other.
    gone = [draft for draft in drafts if draft.id not in states]
    again = {pushed.id: pushed for pushed in await insert(connection, schema, gone)}
    answers = []
    for draft in drafts:
        answer = Pushed(draft.id, None if draft.id in new else states.get(draft.id))
        answers.append(again.get(draft.id, answer))
        new.discard(draft.id)  # the same id once more in this call is a duplicate
    return answers


def parameters(drafts: Sequence[Draft]) -> Mapping[str, object]:
    """Make the parameters of the statement ``insert``."""
    kinds: dict[_Common, int] = {}
    numbers = [kinds.setdefault(_common(draft), len(kinds) + 1) for draft in drafts]
    (
        queues, names, codecs, versions, priorities, delays, ats, expiries, max_attempts,
        max_lost, dedup_keys, run_ids, steps,
    ) = zip(*kinds, strict=True)  # fmt: skip
    return {
        "ids": plain(draft.id for draft in drafts),
        "kinds": plain(numbers),
        "metadata": Texts.of(metadata_text(draft.metadata) for draft in drafts),
        "payloads": Blobs(draft.payload for draft in drafts),
        "on_ends": Blobs(draft.on_end for draft in drafts),
        "queues": Texts.of(queues),
        "names": Texts.of(names),
        "codecs": Texts.of(codecs),
        "versions": plain(versions),
        "priorities": plain(priorities),
        "delays": plain(micros(delay) for delay in delays),
        "ats": plain(None if at is None else to_micros(at) for at in ats),
        "expiries": plain(None if at is None else to_micros(at) for at in expiries),
        "max_attempts": plain(max_attempts),
        "max_lost": plain(max_lost),
        "dedup_keys": Texts.of(dedup_keys),
        "run_ids": Texts.of(run_ids),
        "steps": Texts.of(steps),
    }


def _common(draft: Draft) -> _Common:
    return (
        draft.queue,
        draft.name,
        draft.codec,
        draft.version,
        draft.priority,
        draft.delay,
        draft.at,
        draft.expires_at,
        draft.max_attempts,
        draft.max_lost,
        None if draft.dedup is None else draft.dedup.key,
        draft.run_id,
        draft.step,
    )
