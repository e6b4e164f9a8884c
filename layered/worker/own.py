"""What a run writes of itself, by its fence: its end, its progress, the steps it has done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from layered.backend import (
    MAX_PROGRESS,
    Done,
    Remembers,
    Reports,
    Settle,
    Storage,
    Transactional,
    Verdict,
    decoder,
    having,
)
from layered.errors import BackendBroken, DecodeFailed, LeaseLost, WrongState
from layered.task import CancelReason, Lease, Run, Settling, checked_name
from layered.worker.outcome import encode_result

T = TypeVar("T")


async def settle_in(backend: Storage[Any], run: Run, tx: object, value: object) -> None:
    """See `WorkerContext.settle_in`."""
    if not isinstance(backend, Transactional):
        msg = f"{backend!r} has no transactions to share: return the result instead"
        raise WrongState(msg)
    lease = _open(run)
    result, dropped = encode_result(value, backend.limits.result)
    if value is not None and dropped is not None:
        msg = f"settling task {lease.name} {lease.id}: its result cannot be stored: {dropped}"
        raise WrongState(msg)
    await checkpoint_if_cancelled()
    run.settling = Settling.STARTED
    item = Settle(lease.fence, Done(None if value is None else result), run.attempt)
    try:
        answer = await _shielded(backend.settle_in(tx, item))
    except BackendBroken:
        raise
    except BaseException:
        run.settling = Settling.OPEN
        raise
    if answer.verdict is Verdict.STALE:
        run.settling = Settling.OPEN
        raise _lost(run)
    run.settling = Settling.DONE


async def progress(backend: Storage[Any], run: Run, value: object) -> None:
    """See `WorkerContext.progress`."""
    lease = _open(run)
    what = f"telling the progress of task {lease.name} {lease.id}"
    reports = having(backend, Reports, what)
    if not await reports.progress(lease.fence, _encoded(value, MAX_PROGRESS, what)):
        raise _lost(run)


async def checkpoint(
    backend: Storage[Any], run: Run, step: str, decode: Callable[[bytes], T], value: object
) -> T:
    """See `WorkerContext.checkpoint`."""
    lease = _open(run)
    what = f"keeping step {checked_name('step', step)!r} of task {lease.name} {lease.id}"
    remembers = having(backend, Remembers, what)
    encoded = _encoded(value, backend.limits.result, what)
    stored = await _shielded(remembers.checkpoint(lease.fence, step, encoded))
    if stored is None:
        raise _lost(run)
    return _decoded(stored, decode, what)


async def once(
    backend: Storage[Any],
    run: Run,
    step: str,
    function: Callable[..., Awaitable[T]],
    args: tuple[Any, ...],
) -> T:
    """See `WorkerContext.once`."""
    lease = _open(run)
    what = f"reading step {checked_name('step', step)!r} of task {lease.name} {lease.id}"
    decode: Callable[[bytes], T] = decoder(function)
    stored = (await having(backend, Remembers, what).checkpoints(lease.id)).get(step)
    if stored is not None:
        return _decoded(stored, decode, what)
    return await checkpoint(backend, run, step, decode, await function(*args))


def _open(run: Run) -> Lease:
    """Answer the lease of a run that may still write."""
    lease = run.record
    assert isinstance(lease, Lease)  # noqa: S101 - a context with a run is of a claimed task
    if run.settling is not Settling.OPEN:
        msg = f"task {lease.name} {lease.id} was settled before: its run writes nothing more"
        raise WrongState(msg)
    return lease


def _lost(run: Run) -> LeaseLost:
    """End a run that the store has refused; make the error to raise."""
    run.cancel(CancelReason.LEASE_LOST)
    task = f"{run.record.name} {run.record.id}"
    return LeaseLost(f"task {task}: another run owns it by now; nothing was written")


def _encoded(value: object, most: int, what: str) -> bytes:
    encoded, why_not = encode_result(value, most)
    if encoded is None:
        msg = f"{what}: {why_not}"
        raise ValueError(msg)
    return encoded


def _decoded(stored: bytes, decode: Callable[[bytes], T], what: str) -> T:
    try:
        return decode(stored)
    except Exception as error:
        msg = f"{what}: what is stored does not fit: {error}"
        raise DecodeFailed(msg) from error


async def _shielded(awaitable: Awaitable[T]) -> T:
    with anyio.CancelScope(shield=True):
        return await awaitable
    raise AssertionError  # pragma: no cover - for checkers: nobody cancels this scope
