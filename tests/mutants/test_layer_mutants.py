"""The tests of layers and handlers can fail: they find each fault put into them."""

import pytest

from tests.mutants.mutant import Mutant, Workshop, on_trio

LAYERS = [
    Mutant(
        "permit leaked on cancel",
        "Each caller that is cancelled as its turn comes takes a place away for ever.",
        "layers/concurrency.py",
        "            if turn.is_set():\n"
        "                self.release()\n"
        "            else:\n"
        "                del self._queue[turn]\n",
        "            self._queue.pop(turn, None)\n",
        on_trio(
            "layers/test_permits",
            "permits_keep_their_rules[keeps_the_limit_and_leaks_nothing]",
            "permits_keep_their_rules[passes_on_a_place_given_to_a_cancelled_caller]",
        ),
    ),
    Mutant(
        "place given twice",
        "More calls run than the limit allows.",
        "layers/concurrency.py",
        "            turn.set()\n            return\n",
        "            turn.set()\n",
        on_trio(
            "layers/test_permits", "permits_keep_their_rules[keeps_the_limit_and_leaks_nothing]"
        ),
    ),
    Mutant(
        "wake-one",
        "A worker that was told of a place and does not call keeps the others asleep.",
        "layers/concurrency.py",
        "            if self._available is None:\n"
        "                self._available = anyio.Event()\n",
        "            self._available = anyio.Event()\n",
        on_trio("layers/test_permits", "permits_keep_their_rules[wakes_all_that_only_ask]"),
    ),
    Mutant(
        "last in first out",
        "Under load the first callers wait for ever.",
        "layers/concurrency.py",
        "self._queue.popitem(last=False)",
        "self._queue.popitem(last=True)",
        on_trio("layers/test_permits", "permits_keep_their_rules[serves_in_the_order_of_arrival]"),
    ),
    Mutant(
        "overtaking",
        "Who comes just when a place is free goes before all that wait for it.",
        "layers/concurrency.py",
        "            turn.set()\n            return\n",
        "            turn.set()\n            self.free += 1\n            return\n",
        on_trio("layers/test_permits", "permits_keep_their_rules[serves_in_the_order_of_arrival]"),
    ),
    Mutant(
        "place kept after an error",
        "Each failing call takes a place away for ever.",
        "layers/concurrency.py",
        "        try:\n"
        "            return await self.inner.call(request)\n"
        "        finally:\n"
        "            permits.release()\n",
        "        result = await self.inner.call(request)\n"
        "        permits.release()\n"
        "        return result\n",
        on_trio(
            "layers/test_concurrency",
            "concurrency_limit_frees_the_place_when_the_inner_service_fails",
            "concurrency_limit_frees_the_place_when_the_call_is_cancelled",
        ),
    ),
    Mutant(
        "capacity of the inner service hidden",
        "A worker claims what an inner limit then makes wait under its lease.",
        "layers/concurrency.py",
        "return min(self.permits.free, self.inner.capacity())",
        "return self.permits.free",
        on_trio(
            "layers/test_concurrency",
            "concurrency_limit_tells_the_inner_capacity_when_that_is_less",
        ),
    ),
    Mutant(
        "retry off by one",
        "RetryLayer(3) runs a failing task four times.",
        "layers/retry/layer.py",
        "return tenacity.stop_after_attempt(stop)",
        "return tenacity.stop_after_attempt(stop + 1)",
        on_trio("layers/test_retry_tasks", "retry_ends_over_several_deliveries_as_over_one"),
    ),
    Mutant(
        "max_attempts off by one",
        "A task runs once more than its push allowed.",
        "layers/retry/layer.py",
        "self._state.attempt_number >= most",
        "self._state.attempt_number > most",
        on_trio("layers/test_retry_tasks", "retry_never_exceeds_max_attempts"),
    ),
    Mutant(
        "reruns not charged",
        "A task that is given back between reruns starts its count anew, for ever.",
        "layers/retry/layer.py",
        "            run.attempt += 1\n",
        "            pass\n",
        on_trio("layers/test_retry_tasks", "retry_charges_each_rerun_of_a_task_before_it_begins"),
    ),
    Mutant(
        "abort retried",
        "A handler that gives up for good is run again all the same.",
        "layers/retry/layer.py",
        "if self._ended() or (isinstance(error, Outcome) and not asked):",
        "if self._ended():",
        on_trio("layers/test_retry", "retry_passes_outcomes_whatever_the_policy_says[Abort('no')]"),
    ),
    Mutant(
        "cancellation swallowed by retry",
        "A handler that a timeout or a drain cancels is done, with no result.",
        "layers/retry/layer.py",
        "            except Exception as error:\n",
        "            except BaseException as error:\n"
        "                if not isinstance(error, Exception):\n"
        "                    return None\n",
        on_trio("layers/test_retry", "retry_passes_cancellation_of_a_run_and_stays_usable"),
    ),
    Mutant(
        "cancellation swallowed by catch",
        "A drain kills the tasks that it should give back.",
        "layers/catch.py",
        "except self.errors as error:",
        "except BaseException as error:",
        on_trio("layers/test_catch", "catch_passes_cancellation"),
    ),
    Mutant(
        "outcomes caught",
        "A task that snoozes is dead.",
        "layers/catch.py",
        "            if isinstance(error, Outcome) and not self._listed(error):\n"
        "                raise\n",
        "",
        on_trio("layers/test_catch", "catch_passes_outcomes[Snooze(5.0)]"),
    ),
    Mutant(
        "timeout without an error",
        "A call that was cut off counts as done.",
        "layers/timeout.py",
        "raise Elapsed(self.seconds)",
        "return None",
        on_trio("layers/test_timeout", "timeout_raises_elapsed_at_the_limit"),
    ),
    Mutant(
        "timeout counted once for all calls",
        "A worker that has run for an hour cuts off every call.",
        "layers/timeout.py",
        "with self._scope(deadline=self._clock() + self.seconds):",
        "with self._scope(deadline=self.seconds):",
        on_trio("layers/test_timeout", "timeout_counts_for_each_call_anew"),
    ),
    Mutant(
        "span not ended",
        "A failed run is missing from every trace.",
        "layers/tracing.py",
        "        finally:\n"
        "            detach(token)\n"
        "            span.end()\n\n"
        "    async def _send",
        "        finally:\n            detach(token)\n\n    async def _send",
        on_trio("layers/test_tracing", "tracing_records_a_failure_once"),
    ),
    Mutant(
        "arguments in spans",
        "Addresses and passwords of customers are in the traces.",
        "layers/tracing.py",
        "    found[names.TASK_ATTEMPT] = task.attempt\n",
        '    found[names.TASK_ATTEMPT] = task.attempt\n    found["args"] = repr(task.args)\n',
        on_trio("layers/test_tracing", "tracing_never_shows_arguments_or_results"),
    ),
]

HANDLERS = [
    Mutant(
        "teardown not shielded",
        "A cancelled handler leaves its connection open: closing it is cancelled, too.",
        "handler/teardown.py",
        "scope.shield = True",
        "scope.shield = False",
        on_trio("worker/test_cancellation", "teardown_is_shielded_when_the_handler_is_cancelled"),
    ),
    Mutant(
        "teardown without limit",
        "One connection that does not close holds up a deployment.",
        "handler/teardown.py",
        "scope.deadline = anyio.current_time() + self._limit",
        "scope.deadline = anyio.current_time() + 10 * self._limit",
        on_trio("handler/test_teardown", "teardown_has_as_long_as_its_limit_says"),
    ),
    Mutant(
        "failure swallowed by a dependency",
        "A task whose dependency hid the error is done.",
        "handler/teardown.py",
        "        return True\n    # Otherwise",
        "        return False\n    # Otherwise",
        on_trio("handler/test_teardown", "swallowed_error_is_still_the_failure[async_swallows]"),
    ),
    Mutant(
        "outcome normalised outside",
        "Layers take an Abort that a handler answered for a result; metrics and spans say done.",
        "handler/generate.py",
        'f"{indent}return normalised(result, {name!r})",',
        'f"{indent}return result",',
        on_trio("handler/test_outcome", "returned_outcome_is_raised[Abort('no')]"),
    ),
    Mutant(
        "thread abandoned",
        "After a timeout a plain function runs on while its retry begins.",
        "handler/thread.py",
        "abandon_on_cancel=False, limiter=threads.limiter())\n"
        "    except BaseException:\n"
        "        await job.ended()\n",
        "abandon_on_cancel=True, limiter=threads.limiter())\n    except BaseException:\n",
        on_trio(
            "handler/test_thread",
            "thread_is_waited_for_when_cancelled_and_its_result_is_dropped",
        ),
    ),
    Mutant(
        "late result of a thread taken",
        "A plain function past its timeout counts as done after all.",
        "handler/generate.py",
        "if task.run.reason is None:",
        "if False:",
        on_trio(
            "handler/test_thread", "thread_is_waited_for_when_cancelled_and_its_result_is_dropped"
        ),
    ),
    Mutant(
        "threads without bound",
        "Plain functions use as many threads as there are tasks.",
        "handler/thread.py",
        "anyio.CapacityLimiter(self.most)",
        "anyio.CapacityLimiter(self.most + 1)",
        on_trio("handler/test_thread", "threads_are_as_many_as_set"),
    ),
    Mutant(
        "worker-scoped values outlive the worker",
        "A worker that has ended keeps its pools and connections alive.",
        "handler/lifetime.py",
        "                    namespace.update(dict.fromkeys(self._values))\n",
        "                    pass\n",
        on_trio("handler/test_dependencies", "worker_scoped_values_are_let_go_at_the_end"),
    ),
]

MUTANTS = LAYERS + HANDLERS


def test_killers_pass_without_a_fault(workshop: Workshop) -> None:
    """So it is the fault that they find."""
    assert not workshop.troubles(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_fault_in_a_layer_or_handler_is_found(workshop: Workshop, mutant: Mutant) -> None:
    """The tests named with a fault fail because of it."""
    assert not workshop.survives(mutant)
