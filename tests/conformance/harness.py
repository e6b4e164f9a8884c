"""What the conformance cases share: their register, the clock that they own, small makers."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

from layered.backend import Claimant, Claimed, Done, Failure, Limits, Record, Settle, Storage
from layered.task import Draft, Lease, new_id

START = 1_700_000_000.0
ME = Claimant("default", "me")
LOST = Claimant("default", "lost", lease=0.0)
"""A claimant whose leases end at once: what it claims can be reaped."""
FAILURE = Failure("ValueError", "no", "in handler")


class Clock:
    """The wall clock of the storage under test: stands still until it is moved."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        """Answer seconds since 1970."""
        return self.at


Check: TypeAlias = Callable[[Storage[Any], Clock], Awaitable[None]]


class Case(NamedTuple):
    """One case, and the limits of the storage that it wants."""

    check: Check
    limits: Limits


CASES: dict[str, Case] = {}


def case(limits: Limits | None = None) -> Callable[[Check], Check]:
    """Put a case in the register, under the name of its function."""

    def add(check: Check) -> Check:
        name: str = check.__name__
        assert name not in CASES
        CASES[name] = Case(check, limits or Limits())
        return check

    return add


def draft(name: str = "a", payload: bytes = b"1", **fields: Any) -> Draft:
    """Make a task to insert."""
    return Draft(**{"id": new_id(), "queue": "default", "name": name, "payload": payload, **fields})


async def claim(storage: Storage[Any], claimant: Claimant = ME, most: int = 10) -> Claimed:
    """Claim tasks of the names "a" and "b"."""
    return await storage.claim(claimant, {"a": most, "b": most}, most)


async def claim_one(storage: Storage[Any], claimant: Claimant = ME) -> Lease:
    """Claim the only task that there is to claim."""
    (lease,) = (await claim(storage, claimant)).leases
    return lease


async def running(storage: Storage[Any], claimant: Claimant = ME, **fields: Any) -> Lease:
    """Insert a task and claim it."""
    await storage.insert([draft(**fields)])
    return await claim_one(storage, claimant)


async def read(storage: Storage[Any], task_id: str) -> Record:
    """Read a task that is there."""
    (record,) = await storage.fetch([task_id])
    assert record is not None
    return record


def done(lease: Lease, result: bytes | None = b"null") -> Settle:
    """Make the settle of a run that ended well."""
    return Settle(lease.fence, Done(result), lease.attempt)
