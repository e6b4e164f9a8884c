"""What a repeated write leaves alone, and what a wait must not miss."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from layered import MemoryStorage, SqliteStorage, Status
from layered.backend import ALREADY, Claimant, Done, Settle

US = Claimant("default", "us")


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
async def test_result_of_a_done_task_never_changes(backend: str, tmp_path: Path) -> None:
    """A handler may answer otherwise when it is run again; who saw the first result keeps it."""
    storage: MemoryStorage[int] | SqliteStorage[int]
    storage = MemoryStorage(int) if backend == "memory" else SqliteStorage(tmp_path / "db", int)
    async with storage:
        pushed = await storage.push(0)
        (lease,) = (await storage.claim(US, {"int": 1}, 1)).leases
        await storage.settle([Settle(lease.fence, Done(b"1"), 1)])

        again = await storage.settle([Settle(lease.fence, Done(b"2"), 1)])

        assert list(again) == [ALREADY[Status.DONE]]
        (record,) = await storage.wait_for([pushed.id])
        assert record.result == b"1"


@pytest.mark.virtual_time
async def test_waiting_notices_an_end_between_its_look_and_its_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has to listen before it looks, or it would wait until its next look."""
    storage = MemoryStorage(int)
    pushed = await storage.push(0)
    (lease,) = (await storage.claim(US, {"int": 1}, 1)).leases
    real = storage.fetch

    async def fetch(ids: Sequence[str]) -> Any:
        records = await real(ids)
        await storage.settle([Settle(lease.fence, Done(None), 1)])
        return records

    monkeypatch.setattr(storage, "fetch", fetch)
    began = anyio.current_time()

    (record,) = await storage.wait_for([pushed.id])

    assert record.status is Status.DONE
    assert anyio.current_time() == began
