"""A process that pushes: ``python -m tests.faults.producer SETTING``."""

from __future__ import annotations

import os
import uuid
from functools import partial

import anyio
import msgspec

from tests.faults.program import prepare, storage_of
from tests.faults.setting import Setting, Told, Unit

BATCH = 50
"""Tasks that are pushed at once."""
PADDING = {"padding": "x" * 8000}
"""So that the file and its log grow fast."""


def task_id(number: int) -> str:
    """Name a task by its number: whoever pushes it again gives it the same id."""
    return str(uuid.UUID(int=number))


async def produce(setting: Setting) -> None:
    """Push in batches, and tell of each that was accepted."""
    async with storage_of(setting) as storage:
        for first in range(*setting.push, BATCH):
            units = [Unit(n) for n in range(first, min(first + BATCH, setting.push[1]))]
            async with anyio.create_task_group() as group:  # these share commits
                for unit in units:
                    push = partial(storage.push, id=task_id(unit.number), metadata=PADDING)
                    group.start_soon(push, unit)
            os.write(1, msgspec.json.encode(Told("Pushed", status=str(units[-1].number))) + b"\n")


def main() -> None:
    """Push what the setting says."""
    setting = prepare()
    anyio.run(produce, setting, backend=setting.loop)


if __name__ == "__main__":
    main()
