"""The tests of the worker can fail: they find each fault put into it."""

import pytest

from tests.mutants.mutant import Mutant, Workshop, on_trio

MUTANTS = [
    Mutant(
        "context leak",
        "A ContextVar set by one task, such as the current user, is seen by the next.",
        "worker/pool.py",
        "context.run(first_step, call, task)",
        "first_step(call, task)",
        on_trio(
            "worker/test_isolation",
            "context_variable_set_by_one_task_is_invisible_to_the_next",
        ),
    ),
    Mutant(
        "context leak after a suspension",
        "The same, if the handler awaited something before it set the variable.",
        "worker/isolate.py",
        "yielded = run(go_on, value)",
        "yielded = go_on(value)",
        on_trio(
            "worker/test_isolation",
            "context_variable_set_by_one_task_is_invisible_to_the_next",
        ),
    ),
    Mutant(
        "arguments shared between tasks",
        "What one handler changes in its arguments, the next task of equal bytes finds changed.",
        "worker/pool.py",
        "return Task(kind.decode(record.payload), run)",
        "return Task(shared(kind, record.payload), run)\n\n"
        "    global shared\n"
        "    from functools import cache\n\n"
        "    @cache\n"
        "    def shared(kind, payload):\n"
        "        return kind.decode(payload)",
        on_trio("worker/test_pool_edges", "arguments_are_made_anew_for_each_task"),
    ),
    Mutant(
        "stray cancellation kills the consumer",
        "A handler that awaits a cancelled future takes the worker with it.",
        "worker/pool.py",
        "told, good = stray(error), False",
        "raise error",
        on_trio(
            "worker/test_pool_edges",
            "consumer_that_ends_with_its_task_leaves_no_other_task_waiting",
        ),
    ),
    Mutant(
        "stray cancellation leaves tasks waiting",
        "The tasks that were claimed with the one that a stray cancellation ended never run.",
        "worker/pool.py",
        "            if not self._closed:\n                self._call_up(1)\n",
        "",
        on_trio(
            "worker/test_pool_edges",
            "consumer_that_ends_with_its_task_leaves_no_other_task_waiting",
        ),
    ),
    Mutant(
        "an error amid a cancellation ends the worker",
        "On trio a user's cancel of a handler with a failing child drains the whole worker.",
        "worker/meaning.py",
        "harmless = (Exception, cancelled, BaseExceptionGroup)",
        "harmless = (Exception, cancelled)",
        on_trio(
            "worker/test_pool_edges", "error_of_a_child_amid_a_cancellation_is_no_reason_to_end"
        ),
    ),
    Mutant(
        "cancelled scope kept",
        "The task after a cancelled one is cancelled, too.",
        "worker/pool.py",
        "            if run.reason is not None and scope.cancel_called:\n"
        "                return True\n",
        "",
        on_trio(
            "worker/test_pool_edges",
            "cancelled_task_takes_no_later_one_of_its_consumer_with_it",
        ),
    ),
    Mutant(
        "exit swallowed",
        "sys.exit() in a handler releases its task for ever and the program goes on.",
        "worker/pool.py",
        "self.fatal(error)",
        "pass",
        on_trio("worker/test_pool_edges", "exit_in_a_group_of_errors_ends_the_worker"),
    ),
    Mutant(
        "prefetch beyond capacity",
        "One worker hoards tasks that it cannot start, while others are idle.",
        "worker/fetcher.py",
        "return min(pool.free, room, self._batch, flight.free)",
        "return min(room, self._batch, flight.free)",
        on_trio("worker/test_pool_edges", "worker_claims_no_more_than_it_can_start"),
    ),
    Mutant(
        "in flight without bound",
        "With a slow store a worker claims on, and a crash runs all of it again.",
        "worker/flight.py",
        "return self.most - len(self._runs)",
        "return self.most",
        on_trio(
            "worker/test_fetch_edges",
            "tasks_that_are_not_durably_settled_hold_back_the_fetch",
        ),
    ),
    Mutant(
        "lost wake-up of the fetch",
        "A task pushed while a claim is on its way waits for the next poll.",
        "backend/poll.py",
        '        """Note what the claim answered."""\n',
        '        """Note what the claim answered."""\n        self._hinted = False\n',
        on_trio("worker/test_parts", "poll_is_latched"),
    ),
    Mutant(
        "hint of a failed claim lost",
        "After a blip of the store a task waits for the next poll.",
        "worker/fetcher.py",
        "self.poll.hint()  # the hint that led here still stands",
        "pass",
        on_trio(
            "worker/test_regressions",
            "claim_that_failed_is_tried_again_without_waiting_for_the_poll",
        ),
    ),
    Mutant(
        "pause ignored",
        "A paused worker claims on.",
        "worker/fetcher.py",
        "most <= 0 or not wanted or machine.state is not State.RUNNING",
        "most <= 0 or not wanted",
        on_trio("worker/test_running", "pause_holds_back_the_fetch_until_resume"),
    ),
    Mutant(
        "deadline not cancelled",
        "A handler that hangs holds its place for ever, whatever its deadline.",
        "worker/ticker.py",
        "run.cancel(CancelReason.DEADLINE)",
        "pass",
        on_trio("worker/test_parts", "deadline_shorter_than_the_lease_is_noticed_in_time"),
    ),
    Mutant(
        "lease not given up in time",
        "With the store away, a handler goes on while another worker runs its task.",
        "worker/ticker.py",
        "elif run.lease_ends <= lease_now:\n                run.cancel(CancelReason.LEASE_LOST)",
        "elif run.lease_ends <= lease_now:\n                pass",
        on_trio(
            "worker/test_cancellation",
            "lease_that_cannot_be_renewed_is_given_up_before_it_ends",
        ),
    ),
    Mutant(
        "lost lease written",
        "A run that lost its lease ends the task, although another run has it.",
        "worker/outcome.py",
        "    if run.reason is CancelReason.LEASE_LOST:\n        return None\n",
        "",
        on_trio("worker/test_keeper_edges", "run_whose_lease_was_given_up_writes_nothing"),
    ),
    Mutant(
        "leases not renewed",
        "A task longer than its lease runs twice at once.",
        "worker/keeper.py",
        "                await self.renew_all(renews, post)\n                wait",
        "                wait",
        on_trio("worker/test_parts", "leases_are_renewed_through_a_long_task_and_its_drain"),
    ),
    Mutant(
        "renew forgets the ledger",
        "A task that kills its worker in a rerun is charged one run for all of them.",
        "worker/keeper.py",
        "Renew(record.fence, run.attempt)",
        "Renew(record.fence, record.attempt)",
        on_trio("worker/test_keeper_edges", "renewal_tells_the_store_of_reruns_in_process"),
    ),
    Mutant(
        "user's cancel not delivered",
        "Cancelling a running task from another process does nothing.",
        "worker/keeper.py",
        "if answer is Renewal.CANCEL:",
        "if False:",
        on_trio(
            "worker/test_keeper_edges",
            "cancellation_that_a_user_asked_the_store_for_reaches_the_handler",
        ),
    ),
    Mutant(
        "grace ignored",
        "A deployment interrupts handlers that would have ended in time.",
        "worker/shift.py",
        "anyio.move_on_after(self._plan.settings.grace)",
        "anyio.move_on_after(0)",
        on_trio(
            "worker/test_cancellation",
            "drain_releases_what_does_not_end_in_grace_uncharged",
        ),
    ),
    Mutant(
        "drain charges an attempt",
        "Three deployments in a row kill a task that never failed.",
        "worker/outcome.py",
        "return Release(fence, 0.0, attempt)",
        "return Release(fence, 0.0, attempt + 1)",
        on_trio(
            "worker/test_cancellation",
            "drain_releases_what_does_not_end_in_grace_uncharged",
        ),
    ),
    Mutant(
        "tasks of a late claim begun in a drain",
        "A worker that stops starts what its last claim brought, only to cancel it.",
        "worker/pool.py",
        "        if self._closed:\n            self._release_waiting()\n",
        "",
        on_trio(
            "worker/test_pool_edges",
            "tasks_of_a_claim_that_answers_after_the_stop_are_given_back",
        ),
    ),
    Mutant(
        "events before durability",
        "A listener reports a task as done, the store refuses, and it runs again.",
        "worker/settle.py",
        "        self._entries.append(entry)\n",
        "        self._entries.append(entry)\n        self._tell(entry, Status.DONE)\n",
        on_trio(
            "worker/test_keeper_edges",
            "end_that_the_store_refuses_is_told_as_stale_and_not_as_an_end",
        ),
    ),
    Mutant(
        "stale taken for written",
        "The end of a run that the store refused is told as the end of the task.",
        "worker/settle.py",
        "if answer.verdict is Verdict.STALE:",
        "if False:",
        on_trio(
            "worker/test_keeper_edges",
            "end_that_the_store_refuses_is_told_as_stale_and_not_as_an_end",
        ),
    ),
    Mutant(
        "settle not tried again",
        "A blip of the store runs a task again that had ended.",
        "worker/settle.py",
        "entries = self._still_leased(entries)",
        "break",
        on_trio(
            "worker/test_parts",
            "settle_that_fails_is_tried_again_and_speaks_only_when_durable[OSError('gone')]",
        ),
    ),
    Mutant(
        "one bad end holds up the others",
        "A row that the driver chokes on keeps all that ended with it from being written.",
        "worker/settle.py",
        "entries = await self._one_by_one(write, entries)",
        "pass",
        on_trio("worker/test_parts", "one_bad_settle_does_not_hold_up_the_others"),
    ),
    Mutant(
        "listener's error harms the worker",
        "A bug in a metrics listener stops the processing of tasks.",
        "worker/events.py",
        'log.error("listener %r failed", listener, exc_info=error)',
        "raise error",
        on_trio("worker/test_regressions", "listener_with_a_stray_cancellation_harms_nobody"),
    ),
    Mutant(
        "settled task run again",
        "A task that has settled itself with its effect is retried, and has the effect twice.",
        "worker/own.py",
        "run.settling = Settling.DONE",
        "run.settling = Settling.OPEN",
        on_trio(
            "worker/test_settle_in",
            "settle_in_then_raise_under_retry_is_one_run_one_effect_done",
        ),
    ),
    Mutant(
        "unknown commit taken for none",
        "A connection lost at the commit of settle_in runs the effect twice.",
        "worker/own.py",
        "    except BackendBroken:\n        raise\n",
        "",
        on_trio(
            "worker/test_context_edges",
            "settle_in_with_an_unknown_end_is_neither_run_again_nor_written_again",
        ),
    ),
    Mutant(
        "snooze charged",
        "A task that waits for a rate limit is dead before it has run once.",
        "worker/outcome.py",
        "return Release(fence, outcome.delay, attempt)",
        "return Release(fence, outcome.delay, attempt + 1)",
        on_trio("worker/test_running", "outcome_decides_how_a_task_goes_on[snooze]"),
    ),
    Mutant(
        "delay of a retry lost",
        "A handler that asks to be run in an hour is run at once, until it is dead.",
        "worker/outcome.py",
        "Retry(failure_of(outcome), outcome.delay)",
        "Retry(failure_of(outcome), 0.0)",
        on_trio("worker/test_running", "outcome_decides_how_a_task_goes_on[retry after]"),
    ),
    Mutant(
        "newer tasks killed by older workers",
        "In a rolling deployment old workers kill the tasks of new programs.",
        "worker/outcome.py",
        "    if isinstance(error, NewerVersion) and fence.epoch < NEWER_CLAIMS:\n"
        "        return Release(fence, NEWER_DELAY, attempt)\n",
        "",
        on_trio(
            "worker/test_running",
            "newer_version_is_left_to_newer_workers_for_an_hour_then_dead",
        ),
    ),
    Mutant(
        "lost tasks reaped by halves",
        "After the crash of a large worker most of its tasks wait for minutes.",
        "worker/housekeeping.py",
        "            if len(reaped) < REAP_BATCH:\n                return\n",
        "            return\n",
        on_trio("worker/test_keeper_edges", "housekeeper_reaps_on_until_nothing_is_left"),
    ),
]


def test_killers_pass_without_a_fault(workshop: Workshop) -> None:
    """So it is the fault that they find."""
    assert not workshop.troubles(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_fault_in_the_worker_is_found(workshop: Workshop, mutant: Mutant) -> None:
    """The tests named with a fault fail because of it."""
    assert not workshop.survives(mutant)
