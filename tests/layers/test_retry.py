"""The fast speed of `RetryLayer`: around requests that are no tasks."""

from contextlib import suppress
from typing import Any

import anyio
import pytest
import tenacity
from tenacity import RetryCallState, wait_fixed, wait_none

from layered import Abort, BuildError, Outcome, RetryAfter, RetryLayer, Snooze, service_fn
from layered.layers.retry import RetriesExhausted, layer
from tests.layers.inner import Scripted, Sleepy, pushed

pytestmark = pytest.mark.virtual_time

ERROR = ValueError("failed")


def quick(runs: int = 3) -> RetryLayer:
    """Make a layer that does not wait."""
    return RetryLayer(runs, wait=wait_none())


async def runs_so_often_as_allowed(make: type[RetryLayer] = RetryLayer) -> None:
    """Check that `RetryLayer(n)` is n runs."""
    for runs in (1, 2, 3, 8):
        inner = Scripted(ValueError("failed"))
        with pytest.raises(ValueError, match="failed"):
            await make(runs, wait=wait_none()).layer(inner).call("x")
        assert inner.runs == runs


async def test_retry_runs_a_failing_call_as_often_as_it_says() -> None:
    """The number counts runs, the first one included."""
    await runs_so_often_as_allowed()


async def test_the_check_of_run_counts_finds_one_run_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counting reruns instead of runs would be seen."""
    bound = layer._Series._bound

    def off_by_one(series: layer._Series) -> str | None:
        series._state.attempt_number -= 1
        try:
            return bound(series)
        finally:
            series._state.attempt_number += 1

    monkeypatch.setattr(layer._Series, "_bound", off_by_one)

    with pytest.raises(AssertionError):
        await runs_so_often_as_allowed()


async def test_retry_answers_the_first_success() -> None:
    """A failure that was made good leaves no trace."""
    inner = Scripted(ERROR, ERROR, "fine")

    assert await quick().layer(inner).call("x") == "fine"
    assert inner.runs == 3


async def test_retry_raises_the_last_error_with_a_note() -> None:
    """The same object, so that its class and traceback say what happened."""
    first, last = ValueError("first"), ValueError("last")

    with pytest.raises(ValueError, match="last") as caught:
        await quick(2).layer(Scripted(first, last)).call("x")

    assert caught.value is last
    assert caught.value.__notes__ == ["run 2 was the last that its RetryLayer allows"]
    assert caught.value.__context__ is None


async def test_retry_waits_between_runs_as_the_policy_says() -> None:
    """Waits are by the loop's clock, and there is none after the last run."""
    waits = tenacity.wait_chain(wait_fixed(2), wait_fixed(5))
    inner = Scripted(ValueError("failed"))

    with pytest.raises(ValueError, match="failed"):
        await RetryLayer(3, wait=waits).layer(inner).call("x")

    assert [at - inner.at[0] for at in inner.at] == [0, 2, 7]
    assert anyio.current_time() == inner.at[-1]


async def test_retry_waits_by_default_half_a_second_and_doubles_it() -> None:
    """With up to half a second of jitter; three runs."""
    inner = Scripted(ValueError("failed"))

    with pytest.raises(ValueError, match="failed"):
        await RetryLayer().layer(inner).call("x")

    assert inner.runs == 3
    first, second = (
        later - earlier for earlier, later in zip(inner.at, inner.at[1:], strict=False)
    )
    assert 0.5 <= first <= 1
    assert 1 <= second <= 1.5


async def test_retry_does_not_run_again_what_the_policy_does_not_name() -> None:
    """Other errors pass at once: the same object, without a note."""
    error = KeyError("other")
    inner = Scripted(error)
    policy = tenacity.retry_if_exception_type(ValueError)

    with pytest.raises(KeyError) as caught:
        await RetryLayer(3, wait=wait_none(), retry=policy).layer(inner).call("x")

    assert caught.value is error
    assert inner.runs == 1
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("outcome", [Abort("no"), Snooze(5)], ids=repr)
async def test_retry_passes_outcomes_whatever_the_policy_says(outcome: Outcome) -> None:
    """A handler that says how its task goes on is not overruled."""
    inner = Scripted(outcome)
    service = RetryLayer(3, wait=wait_none(), retry=tenacity.retry_always).layer(inner)

    with pytest.raises(Outcome) as caught:
        await service.call("x")

    assert caught.value is outcome
    assert inner.runs == 1


async def test_retry_waits_as_long_as_a_retry_after_asks() -> None:
    """Around anything but a claimed task it sleeps, however long."""
    inner = Scripted(RetryAfter(3600), "fine")
    service = RetryLayer(3, wait=wait_fixed(1), retry=tenacity.retry_never).layer(inner)

    assert await service.call("x") == "fine"
    assert inner.at[1] - inner.at[0] == 3600


async def test_retry_aborts_when_a_retry_after_comes_once_too_often() -> None:
    """As it is, it would bring the task back for ever."""
    asked = RetryAfter(1, "busy")
    inner = Scripted(asked)

    with pytest.raises(Abort) as caught:
        await quick(2).layer(inner).call("x")

    assert caught.value.__cause__ is asked
    assert caught.value.reason == (
        "busy (again in 1 s); run 2 was the last that its RetryLayer allows"
    )
    assert inner.runs == 2


async def test_retry_passes_cancellation_of_a_run_and_stays_usable() -> None:
    """What was told to stop is not run again."""
    inner = Sleepy()
    service = quick().layer(inner)

    with anyio.move_on_after(1) as scope:
        await service.call(60)

    assert scope.cancelled_caught
    assert inner.cancelled == [60]
    assert await service.call(1) == "slept 1"


async def test_retry_passes_cancellation_of_a_wait() -> None:
    """Between runs as well."""
    inner = Scripted(ERROR, "fine")
    service = RetryLayer(3, wait=wait_fixed(60)).layer(inner)

    with anyio.move_on_after(1) as scope:
        await service.call("x")

    assert scope.cancelled_caught
    assert inner.runs == 1


async def test_retry_lets_others_run_when_it_does_not_wait() -> None:
    """An endless policy without waits does not stop the event loop."""
    inner = Scripted(ERROR)
    service = RetryLayer(tenacity.stop_never, wait=wait_none()).layer(inner)

    async with anyio.create_task_group() as group:

        async def forever() -> None:
            await service.call("x")

        group.start_soon(forever)
        while inner.runs < 5:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


async def test_retry_has_one_speed_around_a_push() -> None:
    """A push is not given back to the store: it is not there yet."""
    inner = Scripted(ERROR, "fine")
    task = pushed()
    service = RetryLayer(3, wait=wait_fixed(60)).layer(inner)

    assert await service.call(task) == "fine"
    assert inner.at[1] - inner.at[0] == 60
    assert task.attempt == 0


async def test_retry_counts_each_call_for_itself() -> None:
    """Calls that overlap do not use up each other's runs."""
    tries: dict[str, int] = {}

    async def fail_twice(name: str) -> str:
        tries[name] = tries.get(name, 0) + 1
        await anyio.sleep(1)
        if tries[name] < 3:
            raise ValueError(name)
        return name

    service = quick().layer(service_fn(fail_twice))
    answers = []

    async with anyio.create_task_group() as group:

        async def call(name: str) -> None:
            answers.append(await service.call(name))

        for name in "abc":
            group.start_soon(call, name)

    assert sorted(answers) == ["a", "b", "c"]


async def test_retry_gives_policies_a_call_state_of_the_loops_time() -> None:
    """A policy of one's own sees what tenacity would show it; nothing of it is wall-clock."""
    seen: list[tuple[object, ...]] = []

    def stop(state: RetryCallState) -> bool:
        assert isinstance(state, RetryCallState)
        assert state.outcome is not None
        seen.append(
            (
                state.attempt_number,
                state.start_time,
                state.outcome_timestamp,
                state.seconds_since_start,
                state.idle_for,
                state.upcoming_sleep,
                state.outcome.exception(),
                state.args,
            )
        )
        return False

    async def fail(request: str) -> str:
        await anyio.sleep(3)
        if len(seen) < 2:
            raise ERROR
        return request

    await anyio.sleep(100)
    start = anyio.current_time()
    service = RetryLayer(stop, wait=wait_fixed(10)).layer(service_fn(fail))

    assert await service.call("x") == "x"

    assert seen == [
        (1, start, start + 3, 3, 0, 10, ERROR, ("x",)),
        (2, start, start + 16, 16, 10, 10, ERROR, ("x",)),
    ]


@pytest.mark.parametrize(
    "stop",
    [tenacity.stop_after_delay(10), tenacity.stop_before_delay(12)],
    ids=["stop_after_delay", "stop_before_delay"],
)
async def test_retry_stops_by_time(stop: tenacity.stop.stop_base) -> None:
    """Tenacity's own policies of time work, also combined: failures at 3, 7 and 11 s."""
    runs = 0

    async def fail(_: str) -> None:
        nonlocal runs
        runs += 1
        await anyio.sleep(3)
        raise ERROR

    layer = RetryLayer(stop | tenacity.stop_after_attempt(9), wait=wait_fixed(1))

    with pytest.raises(ValueError, match="failed"):
        await layer.layer(service_fn(fail)).call("x")

    assert runs == 3


async def test_retry_asks_predicates_on_results_about_results() -> None:
    """A result may be worth another run, too."""
    inner = Scripted("again", "again", "fine")
    policy = tenacity.retry_if_result(lambda result: result == "again")

    answer = await RetryLayer(3, wait=wait_none(), retry=policy).layer(inner).call("x")

    assert answer == "fine"
    assert inner.runs == 3


async def test_retry_raises_when_the_last_result_is_refused() -> None:
    """A refused result is not passed on as if it were good; it is kept with the error."""
    inner = Scripted("secret")
    policy = tenacity.retry_if_result(lambda _: True)

    with pytest.raises(RetriesExhausted, match="refused the result of run 2, the last") as caught:
        await RetryLayer(2, wait=wait_none(), retry=policy).layer(inner).call("x")

    assert (caught.value.value, caught.value.runs) == ("secret", 2)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "policy",
    [
        tenacity.retry_if_exception(lambda _: True),
        tenacity.retry_if_exception_type(ValueError),
        tenacity.retry_if_not_exception_type(KeyError),
        tenacity.retry_if_exception_cause_type(ValueError),
        tenacity.retry_if_exception_message(match="fail"),
        tenacity.retry_if_exception_type(ValueError) | tenacity.retry_if_exception_type(OSError),
        tenacity.retry_if_exception_type(ValueError) & tenacity.retry_if_exception_message("x"),
        tenacity.retry_never,
    ],
    ids=lambda policy: type(policy).__name__,
)
async def test_retry_does_not_ask_predicates_on_errors_about_results(
    policy: tenacity.retry_base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success costs one `try`: no record of the call is made at all."""
    service = RetryLayer(3, retry=policy).layer(Scripted("fine"))
    monkeypatch.setattr(layer, "_Series", None)

    assert await service.call("x") == "fine"


@pytest.mark.parametrize(
    "policy",
    [
        tenacity.retry_unless_exception_type(KeyError),
        tenacity.retry_if_not_exception_message("other"),
        tenacity.retry_if_not_result(lambda result: result == "fine"),
        tenacity.retry_if_exception_type() | tenacity.retry_if_result(lambda r: r == "again"),
        lambda state: state.outcome.failed or state.outcome.result() == "again",
    ],
    ids=["unless_type", "not_message", "not_result", "any", "own"],
)
async def test_retry_knows_which_predicates_are_true_for_results(
    policy: tenacity.retry_base,
) -> None:
    """Also those of tenacity whose names speak of exceptions only."""
    inner = Scripted("again", "fine")

    with suppress(RetriesExhausted):  # some refuse every result
        await RetryLayer(2, wait=wait_none(), retry=policy).layer(inner).call("x")

    assert inner.runs == 2


async def answer_later(_: object) -> bool:
    """Answer what no policy may: an awaitable."""
    return True


decide_later: Any = answer_later


class AsyncPolicy:
    async def __call__(self, state: RetryCallState) -> bool:
        return True


class DerivedAsyncPolicy(AsyncPolicy):
    pass


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        pytest.param("retry", decide_later, id="function"),
        pytest.param("retry", AsyncPolicy(), id="object"),
        pytest.param("retry", DerivedAsyncPolicy(), id="inherited"),
        pytest.param("retry", tenacity.retry_if_result(decide_later), id="predicate"),
        pytest.param(
            "retry", tenacity.retry_never | tenacity.retry_if_exception(decide_later), id="combined"
        ),
        pytest.param(
            "retry", tenacity.asyncio.retry.retry_if_exception(decide_later), id="tenacity"
        ),
        pytest.param("stop", decide_later, id="stop"),
        pytest.param("stop", tenacity.stop_any(decide_later), id="combined_stop"),
        pytest.param("wait", decide_later, id="wait"),
        pytest.param("wait", wait_fixed(1) + decide_later, id="combined_wait"),
    ],
)
def test_retry_layer_is_refused_when_a_policy_is_async(name: str, policy: Any) -> None:
    """An awaitable would count as true: found when the layer is made."""
    with pytest.raises(BuildError, match="which is async; decide without waiting"):
        RetryLayer(**{name: policy})


def test_retry_layer_names_all_problems_at_once() -> None:
    """One run, one list."""
    with pytest.raises(BuildError) as caught:
        RetryLayer(0, wait=5, retry=None, hold=-1)  # type: ignore[arg-type]  # wrong on purpose

    assert [problem.split()[0] for problem in caught.value.problems] == [
        "'stop'",
        "'wait'",
        "'retry'",
        "'hold'",
    ]


def test_retry_layer_shows_its_policies() -> None:
    """Tenacity's objects have no `repr`; a stack that prints itself needs one."""

    def decide(state: RetryCallState) -> bool:
        return False

    mine: Any = decide
    shown = repr(
        RetryLayer(
            tenacity.stop_after_attempt(5) | mine,
            wait=wait_fixed(1) + tenacity.wait_random(0, 2),
            retry=tenacity.retry_if_exception_type(OSError),
        )
    )

    assert "stop=stop_any(stop_after_attempt(max_attempt_number=5), " in shown
    assert "decide)" in shown
    assert "wait_fixed(wait_fixed=1.0), wait_random(" in shown
    assert "retry=retry_if_exception_type(exception_types=OSError), hold=1.0)" in shown
