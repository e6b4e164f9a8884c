"""The conformance suite can fail: it finds each fault put into the statements of SQLite."""

import importlib
from pathlib import Path
from typing import NamedTuple

import pytest

from layered.backends.sqlite import settle
from layered.testing import backend_rules
from layered.testing.conformance.rule import RuleBroken
from tests.conformance.storages import BACKENDS


class Mutant(NamedTuple):
    """A fault: a part of a statement replaced; and the rule that must find it."""

    where: str
    part: str
    fault: str
    rule: str


MUTANTS = {
    "settle fenced by state only": Mutant(
        "settle._DEAD",
        "id = ? AND epoch = ? AND claim_id = ?",
        "id = ? AND (epoch = ? OR claim_id = ? OR TRUE)",
        "a_write_with_another_epoch_is_refused",
    ),
    "settle without the epoch": Mutant(
        "settle._DONE", "epoch = ?", "(epoch = ? OR TRUE)", "a_write_with_another_epoch_is_refused"
    ),
    "settle without the claim id": Mutant(
        "settle._DONE",
        "claim_id = ?",
        "(claim_id = ? OR TRUE)",
        "a_write_with_another_claim_id_is_refused",
    ),
    "batch settle without the epoch": Mutant(
        "settle._ALL_DONE",
        "epoch = item.column5",
        "(epoch = item.column5 OR TRUE)",
        "a_batch_of_another_epoch_is_refused",
    ),
    "batch settle without the state": Mutant(
        "settle._ALL_DONE", "AND state = 4", "", "a_batch_leaves_what_has_ended"
    ),
    "settle without the state": Mutant(
        "settle._DONE", "AND state = 4", "", "nothing_follows_an_ending"
    ),
    "retry without the claim id": Mutant(
        "settle._RETRY",
        "claim_id = :claim AND",
        "(claim_id = :claim OR TRUE) AND",
        "a_write_with_another_claim_id_is_refused",
    ),
    "release without the state": Mutant(
        "settle._RELEASE", "AND state = 4", "", "nothing_follows_an_ending"
    ),
    "release charged": Mutant("settle._RELEASE", ") - 1", ")", "a_release_is_not_charged"),
    "ledger overwritten": Mutant(
        "settle._RETRY",
        "attempt = max(attempt, :attempt)",
        "attempt = :attempt",
        "the_ledger_never_falls",
    ),
    "attempts unchecked at a retry": Mutant(
        "settle._RETRY", ">= max_attempts THEN", "> 1000 THEN", "a_retry_at_max_attempts_is_dead"
    ),
    "already by the claim alone": Mutant(
        "settle._SETTLED",
        "settled_op = ?",
        "(settled_op = ? OR TRUE)",
        "another_ending_after_a_settle_is_stale",
    ),
    "already by the operation alone": Mutant(
        "settle._SETTLED",
        "settled_claim = ?",
        "(settled_claim = ? OR TRUE)",
        "a_write_to_an_ended_task_is_refused",
    ),
    "renew without the fence": Mutant(
        "lease._RENEW",
        "task.epoch = item.epoch AND",
        "",
        "a_write_with_another_epoch_is_refused",
    ),
    "renew shortens": Mutant(
        "lease._RENEW",
        "max(task.lease_until, :until)",
        ":until",
        "a_renewal_never_shortens_a_lease",
    ),
    "renew keeps the first length": Mutant(
        "lease._RENEW",
        ", lease = max(task.lease, :lease)",
        ", lease = iif(:lease, task.lease, task.lease)",
        "a_lease_may_be_renewed_for_longer",
    ),
    "reap of live leases": Mutant(
        "lease._OVERDUE", "lease_until <= :mono", "(:mono OR TRUE)", "a_live_lease_is_not_reaped"
    ),
    "reap without its mark": Mutant("lease._REAP", "'reaped'", "'done'", "a_reaped_run_is_stale"),
    "epoch not raised": Mutant(
        "claim._START", "epoch = epoch + 1", "epoch = epoch", "the_epoch_rises_at_each_claim"
    ),
    "promoted too early": Mutant(
        "claim._PROMOTE",
        "due_at <= ?",
        "due_at <= ? + 1000000",
        "nothing_is_claimed_before_it_is_due",
    ),
    "priority ignored": Mutant(
        "claim._PICK", "-priority, due_at", "0, due_at", "claims_are_in_order"
    ),
    "cancel of what has ended": Mutant(
        "cancel._CANCEL", "state < 4 OR", "state <> 4 OR", "what_has_ended_is_not_cancelled"
    ),
    "cancel that ends a run": Mutant(
        "cancel._CANCEL",
        "iif(state = 4, 4, 7)",
        "iif(state = 4, 7, 7)",
        "what_runs_is_asked_to_stop_by_its_renewal",
    ),
    "cancel that counts twice": Mutant(
        "cancel._CANCEL", "AND NOT cancel_requested", "", "a_cancel_may_be_repeated"
    ),
    "cancel that asks nobody": Mutant(
        "cancel._CANCEL",
        "cancel_requested = (state = 4)",
        "cancel_requested = (state = 9)",
        "what_runs_is_asked_to_stop_by_its_renewal",
    ),
    "cancelled without a time": Mutant(
        "cancel._CANCEL",
        "iif(state = 4, NULL, ?)",
        "iif(state < 9, NULL, ?)",
        "what_does_not_run_is_cancelled_at_once",
    ),
    "cancelled run is retried": Mutant(
        "settle._RETRY",
        "WHEN cancel_requested THEN 7",
        "WHEN cancel_requested THEN 2",
        "a_cancelled_run_that_fails_is_not_run_again",
    ),
    "cancelled run without a time": Mutant(
        "settle._RETRY",
        "iif(cancel_requested OR max(attempt, :attempt) >= max_attempts, :now",
        "iif(max(attempt, :attempt) >= max_attempts, :now",
        "a_cancelled_run_that_fails_is_not_run_again",
    ),
    "cancelled before its last failure": Mutant(
        "settle._RETRY",
        "WHEN max(attempt, :attempt) >= max_attempts THEN 6 WHEN cancel_requested THEN 7",
        "WHEN cancel_requested THEN 7 WHEN max(attempt, :attempt) >= max_attempts THEN 6",
        "a_run_that_fails_for_good_first_is_dead",
    ),
    "cancelled run is released": Mutant(
        "settle._RELEASE",
        "WHEN cancel_requested THEN 7",
        "WHEN cancel_requested THEN 3",
        "a_cancelled_run_that_is_released_is_not_run_again",
    ),
    "requeue of what is done": Mutant(
        "cancel._LOOK", "state >= 6", "state >= 5", "what_is_not_dead_or_cancelled_is_not_requeued"
    ),
    "requeue of empty arguments refused": Mutant(
        "cancel._LOOK",
        "payload IS NOT NULL",
        "length(payload) > 0",
        "a_task_without_arguments_may_be_requeued",
    ),
    "requeue that keeps the attempts": Mutant(
        "cancel._REQUEUE", "attempt = 0, ", "", "a_requeued_task_has_all_its_attempts"
    ),
    "requeue that keeps the losses": Mutant(
        "cancel._REQUEUE", "lost = 0, ", "", "a_requeued_task_has_all_its_attempts"
    ),
    "requeue that keeps the expiry": Mutant(
        "cancel._REQUEUE", "expires_at = NULL, ", "", "a_requeue_lifts_an_expiry"
    ),
    "requeue that keeps the request": Mutant(
        "cancel._REQUEUE",
        "cancel_requested = 0",
        "cancel_requested = cancel_requested",
        "a_requeue_takes_back_a_cancel",
    ),
    "requeue that keeps the due time": Mutant(
        "cancel._REQUEUE",
        "due_at = ?",
        "due_at = min(due_at, ?)",
        "a_dead_or_cancelled_task_runs_again",
    ),
    "key of another queue": Mutant(
        "dedup._HOLDER",
        "dedup.queue = ?",
        "(dedup.queue = ? OR TRUE)",
        "keys_are_told_apart_exactly",
    ),
    "key held for ever": Mutant(
        "dedup._HOLDER",
        "(task.state < 5 OR dedup.until > ?)",
        "(task.state < 9 OR dedup.until > ?)",
        "a_key_is_free_when_its_task_has_ended",
    ),
    "key free with its window": Mutant(
        "dedup._HOLDER",
        "task.state < 5 OR",
        "task.state < 0 OR",
        "a_live_task_holds_its_key_after_its_window",
    ),
    "key free with its task": Mutant(
        "dedup._HOLDER",
        "dedup.until > ?",
        "(dedup.until > ? AND FALSE)",
        "a_window_holds_the_key_after_the_end",
    ),
    "key never taken over": Mutant(
        "dedup._HOLD", "task = excluded.task, ", "", "a_key_is_free_when_its_task_has_ended"
    ),
    "window never renewed": Mutant(
        "dedup._HOLD", ", until = excluded.until", "", "a_replacement_begins_a_window_of_its_own"
    ),
    "replaced while it runs": Mutant(
        "push._REPLACE", "state <= 3", "state <= 4", "a_running_task_is_not_replaced"
    ),
    "replaced when it has ended": Mutant(
        "push._REPLACE",
        "AND state >= 1 AND state <= 3",
        "AND state <> 4",
        "an_ended_task_is_not_replaced",
    ),
    "replaced without its priority": Mutant(
        "push._REPLACE",
        "priority = ?",
        "priority = iif(?, priority, priority)",
        "a_replaced_task_stands_by_its_new_rank",
    ),
    "pause of any queue": Mutant(
        "queues._PAUSED", "name = ?", "(name = ? OR TRUE)", "other_queues_are_not_paused"
    ),
    "pause for ever": Mutant(
        "queues._PAUSED", "until > ?", "until < ? OR TRUE", "a_pause_ends_at_its_instant"
    ),
    "resumed in name only": Mutant(
        "queues._RESUME", "paused = 0", "paused = paused", "nothing_is_claimed_of_a_paused_queue"
    ),
    "first pause counts": Mutant(
        "queues._PAUSE", "excluded.until", "queue.until", "the_last_pause_counts"
    ),
    "first beat counts": Mutant(
        "workers._BEAT",
        "seen_at = excluded.seen_at",
        "seen_at = worker.seen_at",
        "the_last_beat_of_a_worker_counts",
    ),
    "goodbye of all": Mutant(
        "workers._LEAVE", "owner = ?", "(owner = ? OR TRUE)", "a_worker_that_leaves_is_forgotten"
    ),
    "workers kept": Mutant(
        "workers._FORGET",
        "seen_at <= ?",
        "seen_at <= ? - seen_at",
        "a_worker_is_forgotten_a_day_after_it_was_seen",
    ),
    "progress without the claim id": Mutant(
        "progress._PROGRESS",
        "claim_id = ?",
        "(claim_id = ? OR TRUE)",
        "progress_under_a_stale_fence_is_refused",
    ),
    "progress without the epoch": Mutant(
        "progress._PROGRESS",
        "epoch = ?",
        "(epoch = ? OR TRUE)",
        "progress_under_a_stale_fence_is_refused",
    ),
    "progress of what has ended": Mutant(
        "progress._PROGRESS", "AND state = 4", "", "progress_under_a_stale_fence_is_refused"
    ),
    "checkpoint without the claim id": Mutant(
        "progress._KEEP",
        "claim_id = ?",
        "(claim_id = ? OR TRUE)",
        "a_checkpoint_under_a_stale_fence_is_refused",
    ),
    "checkpoint of what has ended": Mutant(
        "progress._KEEP", "AND state = 4", "", "a_checkpoint_under_a_stale_fence_is_refused"
    ),
    "checkpoint told after the end": Mutant(
        "progress._KEPT",
        "AND task.state = 4",
        "",
        "a_checkpoint_under_a_stale_fence_is_refused",
    ),
    "last value of a step counts": Mutant(
        "progress._KEEP",
        "DO NOTHING",
        "DO UPDATE SET value = excluded.value",
        "the_first_value_of_a_step_counts",
    ),
    "steps of all tasks": Mutant(
        "progress._STEPS", "task = ?", "(task = ? OR TRUE)", "the_first_value_of_a_step_counts"
    ),
    "steps outlive the arguments": Mutant(
        "prune._DROP", "task IN", "step = '' AND task IN", "a_tombstone_has_no_checkpoints"
    ),
    "tombstone without its window": Mutant(
        "prune._WALK", "until > :now", "until > :now + 1e15", "a_window_outlasts_retention"
    ),
    "page of any queue": Mutant(
        "read._PAGE",
        "queue = :queue",
        "(queue = :queue OR TRUE)",
        "tasks_are_listed_by_queue_name_and_state",
    ),
    "page of any name": Mutant(
        "read._PAGE", "name IN", "TRUE OR name IN", "tasks_are_listed_by_queue_name_and_state"
    ),
    "page of any state": Mutant(
        "read._PAGE", "state IN", "TRUE OR state IN", "tasks_are_listed_by_queue_name_and_state"
    ),
    "page from the next instant": Mutant(
        "read._PAGE",
        "created_at >= :since",
        "created_at > :since",
        "tasks_are_listed_by_the_time_of_their_push",
    ),
    "page until an instant and it": Mutant(
        "read._PAGE",
        "created_at < :until",
        "created_at <= :until",
        "tasks_are_listed_by_the_time_of_their_push",
    ),
    "page by the first error": Mutant(
        "read._PAGE", "$[#-1][0]", "$[0][0]", "tasks_are_listed_by_their_last_error"
    ),
    "page with the one before": Mutant(
        "read._PAGE", "id < :after", "id <= :after", "every_task_is_listed_once"
    ),
    "page without its last look": Mutant(
        "read._PAGE", "id >= :floor", "id > :floor", "what_is_rare_is_found_among_many"
    ),
    "strip forgets the result": Mutant(
        "prune._STRIP", "result = NULL, ", "", "a_pruned_task_leaves_a_tombstone"
    ),
}


def statement(mutant: Mutant) -> tuple[str, str]:
    """Answer where the statement stands, and its text without the fault."""
    module, _, name = mutant.where.partition(".")
    where = f"layered.backends.sqlite.{module}"
    text: str = getattr(importlib.import_module(where), name)
    return f"{where}.{name}", text


@pytest.mark.parametrize("name", MUTANTS)
async def test_conformance_finds_a_faulty_statement(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault breaks the rule that is named with it."""
    mutant, make = MUTANTS[name], BACKENDS["sqlite"](tmp_path)
    where, text = statement(mutant)
    assert mutant.part in text
    await backend_rules[mutant.rule].check(make)
    monkeypatch.setattr(where, text.replace(mutant.part, mutant.fault))
    settle._all_done_sql.cache_clear()

    with pytest.raises(RuleBroken, match=r"must (be|hold)"):
        await backend_rules[mutant.rule].check(make)

    settle._all_done_sql.cache_clear()
