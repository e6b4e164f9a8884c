"""Settle and release: how runs end, each by its fence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import starmap
from operator import itemgetter
from typing import TypeAlias, TypeVar

from layered.backend import (
    ALREADY,
    APPLIED,
    STALE,
    Answer,
    Cancelled,
    Dead,
    Done,
    Ending,
    Release,
    Retry,
    Settle,
)
from layered.backends.postgres.arrays import Blobs, Texts, plain
from layered.backends.postgres.notes import failure_text, micros
from layered.backends.postgres.queries import named
from layered.backends.postgres.within import Executes
from layered.task import Fence, Status

Item = TypeVar("Item", Settle, Release)
_Write: TypeAlias = Callable[[Executes, str, Sequence[Item]], Awaitable[Sequence[Answer]]]

_BY_FENCE = itemgetter(0)
_OPERATIONS = {kind: kind.__name__.lower() for kind in (Done, Retry, Dead, Cancelled)}


async def settle(connection: Executes, schema: str, items: Sequence[Settle]) -> Sequence[Answer]:
    """See `Backend.settle`; one statement, and another where some were not applied."""
    return await _in_rounds(connection, schema, items, _settle)


async def release(connection: Executes, schema: str, items: Sequence[Release]) -> Sequence[Answer]:
    """See `Backend.release`."""
    return await _in_rounds(connection, schema, items, _release)


async def _in_rounds(
    connection: Executes, schema: str, items: Sequence[Item], write: _Write[Item]
) -> Sequence[Answer]:
    """Write *items*; what comes more than once comes in turn, for a statement takes any of them."""
    rounds: list[dict[str, int]] = []
    for at, item in enumerate(items):
        for chosen in rounds:
            if chosen.setdefault(item.fence.id, at) == at:
                break
        else:
            rounds.append({item.fence.id: at})
    if len(rounds) == 1:
        return await write(connection, schema, items)
    answers: dict[int, Answer] = {}
    async with connection.together():
        for chosen in rounds:
            written = await write(connection, schema, [items[at] for at in chosen.values()])
            answers |= zip(chosen.values(), written, strict=True)
    return [answers[at] for at in range(len(items))]


async def _settle(connection: Executes, schema: str, items: Sequence[Settle]) -> Sequence[Answer]:
    sql = named("settle.sql", schema)
    ordered = sorted(items, key=_BY_FENCE)  # so that two batches never wait for each other
    values = fences([item.fence for item in ordered], [item.attempt for item in ordered])
    endings = [item.ending for item in ordered]
    values["results"] = Blobs(map(_result, endings))
    if all(isinstance(ending, Done) for ending in endings):
        cursor = await connection.execute(sql["done"], values)
        states = dict.fromkeys([id_ for (id_,) in await cursor.fetchall()], Status.DONE)
    else:
        values |= {
            "ops": Texts.of(_OPERATIONS[type(ending)] for ending in endings),
            "delays": plain(micros(getattr(ending, "delay", 0.0)) for ending in endings),
            "failures": Texts.of(map(_failure, endings)),
        }
        cursor = await connection.execute(sql["settle"], values)
        states = {id_: Status(state) for id_, state in await cursor.fetchall()}
    written = [(item.fence, _OPERATIONS[type(item.ending)]) for item in items]
    return await _answers(connection, schema, written, states)


async def _release(connection: Executes, schema: str, items: Sequence[Release]) -> Sequence[Answer]:
    ordered = sorted(items, key=_BY_FENCE)
    values = fences([item.fence for item in ordered], [item.attempt for item in ordered])
    values["delays"] = plain(micros(item.delay) for item in ordered)
    cursor = await connection.execute(named("settle.sql", schema)["release"], values)
    states = {id_: Status(state) for id_, state in await cursor.fetchall()}
    written = [(item.fence, "release") for item in items]
    return await _answers(connection, schema, written, states)


def fences(items: Sequence[Fence], attempts: Sequence[int]) -> dict[str, object]:
    """Make the parameters that name runs."""
    ids, epochs, claims = zip(*items, strict=True) if items else ((), (), ())
    return {
        "ids": plain(ids),
        "epochs": plain(epochs),
        "claims": plain([claim.hex() for claim in claims]),
        "attempts": plain(attempts),
    }


async def _answers(
    connection: Executes,
    schema: str,
    written: Sequence[tuple[Fence, str]],
    states: Mapping[str, Status],
) -> Sequence[Answer]:
    """Answer each write; of those that were not applied, tell whether they were before."""
    missing = [fence.id for fence, _ in written if fence.id not in states]
    before: dict[tuple[str, str, str], Status] = {}
    if missing:
        sql = named("settle.sql", schema)["settled"]
        cursor = await connection.execute(sql, {"ids": plain(missing)})
        for id_, claim, operation, state in await cursor.fetchall():
            before[id_, claim, operation] = Status(state)

    def answer(fence: Fence, operation: str) -> Answer:
        if fence.id in states:
            return APPLIED[states[fence.id]]
        earlier = before.get((fence.id, fence.claim_id.hex(), operation))
        return STALE if earlier is None else ALREADY[earlier]

    return [*starmap(answer, written)]


def _result(ending: Ending) -> bytes | None:
    return ending.result if isinstance(ending, Done) else None


def _failure(ending: Ending) -> str | None:
    return failure_text(ending.failure) if isinstance(ending, Retry | Dead) else None
