"""The tests of control, by hand and by a run of itself, can fail: they find each fault."""

import pytest

from tests.mutants.mutant import Mutant, Workshop, on_trio

MUTANTS = [
    Mutant(
        "cancel not delivered",
        "A task that somebody has cancelled runs on to its end.",
        "worker/keeper.py",
        "post(partial(run.cancel, CancelReason.USER))",
        "pass",
        on_trio(
            "worker/test_control",
            "cancel_in_the_store_reaches_a_running_handler_through_its_lease",
            "task_that_waits_for_its_next_run_is_cancelled[held]",
        ),
    ),
    Mutant(
        "repeated cancelled end told as retry",
        "A listener waits for a run that will never be.",
        "worker/settle.py",
        "if answer.status is Status.CANCELLED:",
        "if answer.status is None:",
        on_trio("worker/test_control", "repeated_end_of_a_cancelled_run_is_told_as_cancelled"),
    ),
    Mutant(
        "end of a pause slept through",
        "After a pause until nine the work begins when the next poll happens to be.",
        "backend/poll.py",
        "self._sleep = interval if due is None else min(interval, max(due, 0.0))",
        "self._sleep = interval",
        on_trio("worker/test_control", "pause_until_an_instant_ends_by_itself"),
    ),
    Mutant(
        "resuming without a hint",
        "After a resume the work begins when the next poll happens to be.",
        "backends/memory/storage.py",
        "        self._book.pauses.resume(queue)\n        self.pushed.notify()\n",
        "        self._book.pauses.resume(queue)\n",
        on_trio("worker/test_control", "paused_queue_is_not_claimed_from_until_it_is_resumed"),
    ),
    Mutant(
        "worker that does not leave",
        "After each deploy the page shows the old workers for half a minute.",
        "worker/shift.py",
        "            await self._heart.leave()\n",
        "",
        on_trio(
            "worker/test_heartbeat",
            "worker_tells_what_it_is_made_of_and_leaves_at_the_end",
        ),
    ),
    Mutant(
        "leaving before the last beat",
        "A beat on its way brings back a worker that has gone, for a day.",
        "worker/heartbeat.py",
        "        self._scope.cancel()\n",
        "        self._scope.cancel()\n        await self._backend.leave(self._beat().owner)\n",
        on_trio("worker/test_heartbeat", "leaving_waits_for_the_beat_that_is_on_its_way"),
    ),
    Mutant(
        "trouble with beats ends the worker",
        "A store too busy for a sign of life loses its worker over it.",
        "worker/heartbeat.py",
        "except Exception as error:  # noqa: BLE001 - whatever a driver raises is waited out",
        "except LookupError as error:",
        on_trio("worker/test_heartbeat", "store_that_takes_no_beats_holds_up_nothing"),
    ),
    Mutant(
        "leaving without a limit",
        "A worker whose store is away never ends, and is killed.",
        "worker/shift.py",
        "            await self.flight.empty()\n            await self._heart.leave()\n",
        "            await self.flight.empty()\n        await self._heart.leave()\n",
        on_trio("worker/test_heartbeat", "store_that_takes_no_beats_holds_up_nothing"),
    ),
    Mutant(
        "beats too rare",
        "A page shows lost workers as alive long after their tasks were taken from them.",
        "worker/shift.py",
        "every = self._plan.settings.lease / 3",
        "every = self._plan.settings.lease",
        on_trio(
            "worker/test_heartbeat",
            "worker_that_is_lost_counts_as_dead_when_its_leases_have_ended",
        ),
    ),
    Mutant(
        "secret in a beat",
        "The key that a layer hides is in the database, and on the page.",
        "worker/explain.py",
        "if field.repr and (value",
        "if (value",
        on_trio(
            "worker/test_heartbeat",
            "worker_tells_what_it_is_made_of_and_leaves_at_the_end",
        ),
    ),
    Mutant(
        "step done again",
        "A retry charges the customer's card twice.",
        "worker/own.py",
        ".checkpoints(lease.id)).get(step)",
        ".checkpoints(lease.id)).get(None)",
        on_trio("worker/test_steps", "step_is_done_once_over_several_runs_of_a_task"),
    ),
    Mutant(
        "step lost to a cancellation",
        "A drain between a step and its storing has the step done twice.",
        "worker/own.py",
        "await _shielded(remembers.checkpoint(lease.fence, step, encoded))",
        "await remembers.checkpoint(lease.fence, step, encoded)",
        on_trio("worker/test_steps", "step_that_was_done_is_stored_in_spite_of_a_cancellation"),
    ),
    Mutant(
        "own value answered, not the stored one",
        "Two runs of one task go on with different values of one step.",
        "worker/own.py",
        "    if stored is None:\n        raise _lost(run)\n",
        "    if stored is None:\n        raise _lost(run)\n    stored = encoded\n",
        on_trio("worker/test_steps", "checkpoint_keeps_the_first_value_of_all_runs"),
    ),
    Mutant(
        "replaced run goes on",
        "A handler that has learned that another one has its task works on beside it.",
        "worker/own.py",
        "    run.cancel(CancelReason.LEASE_LOST)\n",
        "",
        on_trio(
            "worker/test_steps",
            "run_that_another_one_has_replaced_writes_nothing[progress]",
            "run_that_another_one_has_replaced_writes_nothing[once]",
        ),
    ),
    Mutant(
        "progress refused in silence",
        "The same.",
        "worker/own.py",
        "if not await reports.progress(lease.fence, _encoded(value, MAX_PROGRESS, what)):",
        "if await reports.progress(lease.fence, _encoded(value, MAX_PROGRESS, what)) is None:",
        on_trio("worker/test_steps", "run_that_another_one_has_replaced_writes_nothing[progress]"),
    ),
    Mutant(
        "progress without a limit",
        "A handler writes megabytes into a row that every claim reads.",
        "worker/own.py",
        "_encoded(value, MAX_PROGRESS, what)",
        "_encoded(value, 1 << 20, what)",
        on_trio("worker/test_steps", "progress_that_cannot_be_stored_is_a_value_error[large]"),
    ),
    Mutant(
        "cancelled tasks requeued with the dead",
        "Whoever runs the failed tasks again runs what was cancelled on purpose, too.",
        "backend/inspector.py",
        "(Status.DEAD,)",
        "(Status.DEAD, Status.CANCELLED)",
        on_trio(
            "backend/test_inspector",
            "requeue_all_leaves_cancelled_tasks_unless_they_are_named",
        ),
    ),
    Mutant(
        "only the first page",
        "Of a million tasks 200 are cancelled, and the answer sounds like success.",
        "backend/inspector.py",
        "            if page.after is None:\n                return changed\n",
        "            return changed\n",
        on_trio(
            "backend/test_inspector",
            "cancel_all_asks_for_each_task_once_in_bounded_writes",
        ),
    ),
    Mutant(
        "empty page taken for the last",
        "A filter that matches old tasks only finds none.",
        "backend/inspector.py",
        "                yield task\n            if page.after is None:\n",
        "                yield task\n            if not page.tasks:\n",
        on_trio("backend/test_inspector", "tasks_go_on_after_a_page_on_which_nothing_was_found"),
    ),
    Mutant(
        "requeue refused in silence",
        "A task is thought to run again, and does not.",
        "backend/inspector.py",
        "        raise WrongState(msg)\n",
        "        return change\n",
        on_trio(
            "backend/test_inspector",
            "requeue_of_a_done_task_is_refused",
            "requeue_of_a_task_whose_arguments_are_gone_is_refused",
        ),
    ),
    Mutant(
        "dedup key dropped",
        "A task is stored each time, as if it had no key.",
        "backend/options.py",
        'dedup=_dedup(kind, options.get("dedup")),',
        "dedup=None,",
        on_trio("backend/test_dedup", "push_with_a_held_key_answers_the_task_that_is_there"),
    ),
    Mutant(
        "dedup key dropped by a storage without",
        "The same, on a storage that cannot know better.",
        "backend/storage.py",
        'if "dedup" in options and not isinstance(self, Dedups):',
        "if False:",
        on_trio("backend/test_dedup", "key_is_refused_by_a_storage_that_keeps_none"),
    ),
    Mutant(
        "outcomes taken for results",
        "The result of a handler that may also answer Abort cannot be read.",
        "backend/results.py",
        "return Union[rest] if members and rest else form",
        "return form",
        on_trio(
            "backend/test_results",
            "result_is_what_the_handler_is_annotated_to_return[outcomes]",
        ),
    ),
    Mutant(
        "dead task answers nothing",
        "Whoever waits for a result takes a failure for None.",
        "backend/results.py",
        "if record.status is not Status.DONE:",
        "if False:",
        on_trio(
            "backend/test_results",
            "result_of_a_dead_task_is_an_error_with_its_last_failure",
            "result_of_a_cancelled_task_is_an_error",
        ),
    ),
]


def test_killers_pass_without_a_fault(workshop: Workshop) -> None:
    """So it is the fault that they find."""
    assert not workshop.troubles(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_fault_in_control_is_found(workshop: Workshop, mutant: Mutant) -> None:
    """The tests named with a fault fail because of it."""
    assert not workshop.survives(mutant)
