"""What the conformance cases cannot reach: reboots, requests to cancel, the walk of prune."""

from pathlib import Path

import pytest

from layered.backend import Claimant, Limits, Renew, Renewal
from layered.backends.sqlite import SqliteStorage, prune
from layered.backends.sqlite.clock import Clock
from layered.task import Lease, Status
from tests.backends.sqlite_storage import ME, claim, done, draft, raw


def at(seconds: float) -> Clock:
    """Make clocks of which the monotonic one stands still."""
    return Clock(monotonic=lambda: seconds)


async def test_sqlite_reaps_leases_from_before_a_reboot(tmp_path: Path) -> None:
    """The monotonic clock starts anew; a lease that ends impossibly late has no worker."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        storage._clock = at(1_000_000.0)
        await storage.insert([draft()])
        (lease,) = await claim(storage)
        assert list(await storage.reap(10)) == []

        storage._clock = at(5.0)
        reaped = await storage.reap(10)

    assert [each.id for each in reaped] == [lease.id]


async def test_sqlite_reaps_the_longest_overdue_first(tmp_path: Path) -> None:
    """With more lost tasks than the limit, nobody waits for ever."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        leases: list[Lease] = []
        for start in (30.0, 10.0, 20.0):
            storage._clock = at(start)
            await storage.insert([draft()])
            leases += (await storage.claim(ME, {"str": 1}, 1)).leases
        storage._clock = at(100.0)

        turns = [await storage.reap(1) for _ in range(3)]

    assert [each.id for turn in turns for each in turn] == [leases[at].id for at in (1, 2, 0)]


async def test_sqlite_lease_ends_at_its_time(tmp_path: Path) -> None:
    """A lease of 30 s stands for 30 s after the claim, and for 30 s after each renewal."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await storage.insert([draft()])
        storage._clock = at(100.0)
        (lease,) = await claim(storage)
        found = []

        for moment in (129.9, 159.8, 159.9):
            storage._clock = at(moment)
            found.append(len(await storage.reap(10)))
            if moment == 129.9:
                await storage.renew([Renew(lease.fence, 1)], 30.0)

    assert found == [0, 0, 1]


async def test_sqlite_tells_a_renewal_of_a_request_to_cancel(tmp_path: Path) -> None:
    """Renewed, and told; without its worker the task is cancelled by the reap."""
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await storage.insert([draft(), draft()])
        one, two = (await storage.claim(Claimant("default", "me", lease=0.0), {"str": 2}, 2)).leases
        await raw(storage, "UPDATE task SET cancel_requested = (seq = 1)")

        renewals = await storage.renew([Renew(two.fence, 1), Renew(one.fence, 1)], 0.0)
        reaped = await storage.reap(10)

    assert list(renewals) == [Renewal.OK, Renewal.CANCEL]
    assert {each.id: each.status for each in reaped} == {
        one.id: Status.CANCELLED,
        two.id: Status.RETRY,
    }


async def test_sqlite_prune_walks_over_what_it_must_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old live tasks, however many, hide no ended ones behind them, and young ones end the walk."""
    monkeypatch.setattr(prune, "_STEP", 5)
    time = [1_000_000.0]
    limits = Limits(keep_done=100.0, tombstone=0.0)
    async with SqliteStorage(
        tmp_path / "tasks.db", str, limits=limits, now=lambda: time[0]
    ) as storage:
        await storage.insert([draft(delay=1e6) for _ in range(20)])
        await storage.insert([draft() for _ in range(4)])
        await storage.settle([done(lease) for lease in await claim(storage)])
        time[0] += 200
        await storage.insert([draft() for _ in range(20)])

        removed = [await storage.prune(3), await storage.prune(3), await storage.prune(3)]
        counts = await storage.counts("default")

    assert removed == [3, 1, 0]
    assert counts == {"str": {Status.SCHEDULED: 20, Status.READY: 20}}


async def test_sqlite_prune_stops_at_young_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day's worth of tasks is not walked through again and again."""
    monkeypatch.setattr(prune, "_STEP", 5)
    async with SqliteStorage(tmp_path / "tasks.db", str) as storage:
        await storage.insert([draft() for _ in range(50)])
        walked: list[int] = []
        step = prune.step

        def counted(*args: object, **kwargs: object) -> prune.Step:
            walked.append(1)
            return step(*args, **kwargs)  # type: ignore[arg-type] # passed on

        monkeypatch.setattr(prune, "step", counted)
        await storage.prune(10)

    assert len(walked) == 1
