"""Progress and checkpoints: what a run writes of itself, by its fence."""

from __future__ import annotations

from collections.abc import Mapping

from layered.backends.postgres.connection import Connection
from layered.backends.postgres.queries import named
from layered.task import Fence


async def progress(connection: Connection, schema: str, fence: Fence, value: bytes) -> bool:
    """See `Reports.progress`."""
    values = {**_fence(fence), "value": value}
    cursor = await connection.execute(named("run.sql", schema)["progress"], values)
    return cursor.rowcount > 0


async def checkpoint(
    connection: Connection, schema: str, fence: Fence, step: str, value: bytes
) -> bytes | None:
    """See `Remembers.checkpoint`."""
    sql = named("run.sql", schema)
    async with connection.together():
        if not await (await connection.execute(sql["fenced"], _fence(fence))).fetchall():
            return None
        await connection.execute(sql["keep"], {"id": fence.id, "step": step, "value": value})
        cursor = await connection.execute(sql["kept"], {"id": fence.id, "step": step})
        ((kept,),) = await cursor.fetchall()
    return bytes(kept)


async def checkpoints(connection: Connection, schema: str, task_id: str) -> Mapping[str, bytes]:
    """See `Remembers.checkpoints`."""
    cursor = await connection.execute(named("run.sql", schema)["steps"], {"id": task_id})
    return {step: bytes(value) for step, value in await cursor.fetchall()}


def _fence(fence: Fence) -> dict[str, object]:
    return {"id": fence.id, "epoch": fence.epoch, "claim": fence.claim_id.hex()}
