"""`RetryLayer` around a claimed task: the ledger, and the slow speed."""

import anyio
import pytest
import tenacity
from tenacity import wait_fixed, wait_none

from layered import Abort, CancelReason, RetryAfter, RetryLayer, Service, Task, service_fn
from layered.layers.retry import RetriesExhausted
from layered.task import Settling
from tests.layers.inner import Scripted, claimed

pytestmark = pytest.mark.virtual_time


def failing() -> Scripted:
    """Make a service that fails at every call."""
    return Scripted(ValueError("failed"))


async def test_retry_charges_each_rerun_of_a_task_before_it_begins() -> None:
    """The store will be told of every run, and the handler sees which one it is."""
    inner, task = failing(), claimed()

    with pytest.raises(ValueError, match="failed"):
        await RetryLayer(3, wait=wait_none()).layer(inner).call(task)

    assert inner.attempts == [1, 2, 3]
    assert task.attempt == 3


async def test_retry_counts_the_runs_of_earlier_deliveries() -> None:
    """The ledger is the task's, not the call's."""
    inner, task = failing(), claimed(attempt=2)

    with pytest.raises(ValueError, match="failed") as caught:
        await RetryLayer(3, wait=wait_none()).layer(inner).call(task)

    assert inner.attempts == [2, 3]
    assert caught.value.__notes__ == ["run 3 was the last that its RetryLayer allows"]


async def test_retry_waits_in_the_lease_when_the_wait_is_short() -> None:
    """Up to *hold* seconds, the bound included."""
    inner, task = Scripted(ValueError("failed"), "fine"), claimed()

    assert await RetryLayer(3, wait=wait_fixed(1)).layer(inner).call(task) == "fine"
    assert inner.at[1] - inner.at[0] == 1


async def test_retry_gives_the_task_back_when_the_wait_is_long() -> None:
    """The slot is free meanwhile; the error travels as the cause, the run is charged once."""
    error = ValueError("failed")
    inner, task = Scripted(error), claimed()

    with pytest.raises(RetryAfter) as caught:
        await RetryLayer(3, wait=wait_fixed(1.1)).layer(inner).call(task)

    assert caught.value.delay == 1.1
    assert caught.value.reason == "ValueError: failed"
    assert caught.value.__cause__ is error
    assert anyio.current_time() == inner.at[0]
    assert task.attempt == 1


async def test_retry_takes_the_slow_speed_beyond_its_own_hold() -> None:
    """*hold* is a setting."""
    inner, task = failing(), claimed()

    with pytest.raises(RetryAfter):
        await RetryLayer(3, wait=wait_fixed(0.1), hold=0).layer(inner).call(task)
    with pytest.raises(ValueError, match="failed"):
        await RetryLayer(3, wait=wait_fixed(60), hold=60).layer(inner).call(task)


async def test_retry_ends_over_several_deliveries_as_over_one() -> None:
    """A worker that claims the task again goes on where the last one stopped."""
    service = RetryLayer(3, wait=wait_fixed(60)).layer(failing())

    for attempt in (1, 2):
        with pytest.raises(RetryAfter):
            await service.call(claimed(attempt=attempt))
    with pytest.raises(ValueError, match="failed"):
        await service.call(claimed(attempt=3))


async def test_retry_never_exceeds_max_attempts() -> None:
    """What was said at the push is an upper bound of what the stack says."""
    inner, task = failing(), claimed(max_attempts=2)

    with pytest.raises(ValueError, match="failed") as caught:
        await RetryLayer(9, wait=wait_none()).layer(inner).call(task)

    assert inner.attempts == [1, 2]
    assert caught.value.__notes__ == ["run 2 was the last that the task's max_attempts=2 allows"]


async def test_retry_runs_no_more_often_than_it_says_when_max_attempts_is_greater() -> None:
    """It is no lower bound."""
    inner = failing()

    with pytest.raises(ValueError, match="failed"):
        await RetryLayer(2, wait=wait_none()).layer(inner).call(claimed(max_attempts=9))

    assert inner.runs == 2


async def test_retry_sleeps_for_a_short_retry_after() -> None:
    """The delay replaces the policy's wait; the run counts."""
    inner, task = Scripted(RetryAfter(0.5), "fine"), claimed()

    assert await RetryLayer(3, wait=wait_fixed(60)).layer(inner).call(task) == "fine"
    assert inner.at[1] - inner.at[0] == 0.5
    assert task.attempt == 2


async def test_retry_passes_a_long_retry_after_as_it_is() -> None:
    """The same object: the worker acts on it."""
    asked = RetryAfter(60)

    with pytest.raises(RetryAfter) as caught:
        await RetryLayer(3, wait=wait_none()).layer(Scripted(asked)).call(claimed())

    assert caught.value is asked


async def test_retry_aborts_when_the_last_run_asks_for_another() -> None:
    """Long or short, it would otherwise run again in spite of the policy."""
    asked = RetryAfter(60)

    with pytest.raises(Abort) as caught:
        await RetryLayer(3).layer(Scripted(asked)).call(claimed(attempt=3))

    assert caught.value.__cause__ is asked


@pytest.mark.parametrize("settling", [Settling.STARTED, Settling.DONE])
async def test_retry_runs_nothing_again_once_the_run_settles_itself(settling: Settling) -> None:
    """Its transaction may have committed: a rerun would be a second effect."""
    error = ValueError("after the commit")
    runs = 0

    async def settle(task: Task[str]) -> None:
        nonlocal runs
        runs += 1
        task.run.settling = settling
        raise error

    service: Service[Task[str], None] = RetryLayer(3, wait=wait_fixed(1)).layer(service_fn(settle))
    task = claimed()

    with pytest.raises(ValueError, match="after the commit") as caught:
        await service.call(task)

    assert caught.value is error
    assert runs == 1
    assert (task.attempt, anyio.current_time()) == (1, 0)
    assert not hasattr(error, "__notes__")


async def test_retry_keeps_the_result_of_a_run_that_settled_itself() -> None:
    """Not even a refused one is run again."""

    async def settle(task: Task[str]) -> str:
        task.run.settling = Settling.DONE
        return "again"

    policy = tenacity.retry_if_result(lambda result: result == "again")
    service: Service[Task[str], str] = RetryLayer(retry=policy).layer(service_fn(settle))

    assert await service.call(claimed()) == "again"


async def test_retry_runs_nothing_again_that_was_cancelled() -> None:
    """A handler that turns its cancellation into an error does not come back for more."""
    runs = 0

    async def stubborn(task: Task[str]) -> None:
        nonlocal runs
        runs += 1
        task.run.cancel(CancelReason.DRAIN)
        raise ValueError("instead of the cancellation")

    service: Service[Task[str], None] = RetryLayer(wait=wait_fixed(1)).layer(service_fn(stubborn))
    task = claimed()

    with pytest.raises(ValueError, match="instead of the cancellation"):
        await service.call(task)

    assert runs == 1
    assert (task.attempt, anyio.current_time()) == (1, 0)


async def test_retry_has_charged_the_next_run_when_a_drain_cancels_the_wait() -> None:
    """A release gives one run back: the one that did not begin, not the one that failed."""
    inner, task = failing(), claimed()

    with anyio.CancelScope() as task.run.scope:
        async with anyio.create_task_group() as group:

            async def drain() -> None:
                await anyio.sleep(0.5)
                task.run.cancel(CancelReason.DRAIN)

            group.start_soon(drain)
            await RetryLayer(3, wait=wait_fixed(1)).layer(inner).call(task)

    assert inner.runs == 1
    assert task.attempt == 2


async def test_retry_runs_nothing_when_cancelled_in_the_turn_in_which_the_wait_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sleep has ended and can no longer tell; the handler must not begin."""
    inner, task = failing(), claimed()

    async def end_just_before(_: float) -> None:
        task.run.cancel(CancelReason.DRAIN)

    monkeypatch.setattr(anyio, "sleep", end_just_before)

    with anyio.CancelScope() as task.run.scope:
        await RetryLayer(3, wait=wait_fixed(1)).layer(inner).call(task)

    assert task.run.scope.cancelled_caught
    assert inner.runs == 1


async def test_retry_runs_nothing_when_a_reason_came_without_a_cancellation() -> None:
    """A reason counts even if nothing was cancelled: the last error is what is known."""
    error = ValueError("failed")
    inner, task = Scripted(error, "fine"), claimed()

    async with anyio.create_task_group() as group:

        async def lose() -> None:
            await anyio.sleep(0.5)
            task.run.reason = CancelReason.LEASE_LOST

        group.start_soon(lose)
        with pytest.raises(ValueError, match="failed") as caught:
            await RetryLayer(3, wait=wait_fixed(1)).layer(inner).call(task)

    assert caught.value is error
    assert inner.runs == 1


async def test_retry_gives_the_task_back_for_a_refused_result() -> None:
    """Predicates on results have both speeds and the ledger."""
    inner = Scripted("again")
    policy = tenacity.retry_if_result(lambda result: result == "again")

    with pytest.raises(RetryAfter):
        await RetryLayer(3, wait=wait_fixed(60), retry=policy).layer(inner).call(claimed())
    with pytest.raises(RetriesExhausted) as caught:
        await RetryLayer(3, wait=wait_none(), retry=policy).layer(inner).call(claimed(attempt=2))

    assert inner.attempts == [1, 2, 3]
    assert caught.value.runs == 3
