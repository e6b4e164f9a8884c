"""The conformance suite can fail: it finds each fault put into the statements of PostgreSQL."""

import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from layered.backends.postgres import PostgresStorage, queries
from layered.errors import BackendError
from layered.testing import backend_rules
from layered.testing.conformance.rule import RuleBroken
from tests.conformance.storages import BACKENDS


class Mutant(NamedTuple):
    """A fault: a part of a statement replaced; and the rule, or the test, that must find it."""

    file: str
    name: str
    part: str
    fault: str
    rule: str


def mutant(where: str, part: str, fault: str, rule: str) -> Mutant:
    """Make a mutant of the statement ``file.name``."""
    file, _, name = where.partition(".")
    return Mutant(f"{file}.sql", name, part, fault, rule)


NOW = "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint"

MUTANTS: Mapping[str, Mutant] = {
    "done without the epoch": mutant(
        "settle.done",
        "task.epoch = item.epoch AND",
        "",
        "a_batch_of_another_epoch_is_refused",
    ),
    "done without the claim id": mutant(
        "settle.done",
        "AND task.claim_id = item.claim",
        "",
        "a_write_with_another_claim_id_is_refused",
    ),
    "done without the state": mutant(
        "settle.done", "AND task.state + 0 = 4", "", "a_batch_leaves_what_has_ended"
    ),
    "done without its mark": mutant(
        "settle.done", "settled_claim = claim_id, ", "", "the_same_settle_again_is_known"
    ),
    "settle without the epoch": mutant(
        "settle.settle",
        "task.epoch = item.epoch AND",
        "",
        "a_write_with_another_epoch_is_refused",
    ),
    "settle without the claim id": mutant(
        "settle.settle",
        "AND task.claim_id = item.claim",
        "",
        "a_write_with_another_claim_id_is_refused",
    ),
    "settle without the state": mutant(
        "settle.settle", "AND task.state + 0 = 4", "", "nothing_follows_an_ending"
    ),
    "settle forgets the ledger": mutant(
        "settle.settle",
        "result = item.result, attempt = greatest(task.attempt, item.attempt)",
        "result = item.result, attempt = item.attempt",
        "the_ledger_never_falls",
    ),
    "attempts unchecked at a retry": mutant(
        "settle.settle",
        "WHEN greatest(task.attempt, item.attempt) >= max_attempts THEN 6",
        "WHEN FALSE THEN 6",
        "a_retry_at_max_attempts_is_dead",
    ),
    "attempts unchecked in the ledger": mutant(
        "settle.settle",
        "WHEN greatest(task.attempt, item.attempt) >= max_attempts THEN 6",
        "WHEN task.attempt >= max_attempts THEN 6",
        "reruns_in_process_count_for_max_attempts",
    ),
    "cancelled run is retried": mutant(
        "settle.settle",
        "WHEN cancel_requested THEN 7\n",
        "",
        "a_cancelled_run_that_fails_is_not_run_again",
    ),
    "one error too many": mutant(
        "settle.settle", "- 3):]", "- 4):]", "the_last_five_errors_are_kept"
    ),
    "release without the epoch": mutant(
        "settle.release",
        "task.epoch = item.epoch AND",
        "",
        "a_write_with_another_epoch_is_refused",
    ),
    "release without the claim id": mutant(
        "settle.release",
        "AND task.claim_id = item.claim",
        "",
        "a_write_with_another_claim_id_is_refused",
    ),
    "release without the state": mutant(
        "settle.release", "AND task.state + 0 = 4", "", "nothing_follows_an_ending"
    ),
    "release charged": mutant(
        "settle.release",
        "greatest(task.attempt, item.attempt) - 1",
        "greatest(task.attempt, item.attempt)",
        "a_release_is_not_charged",
    ),
    "cancelled run is released": mutant(
        "settle.release",
        "WHEN cancel_requested THEN 7 ",
        "",
        "a_cancelled_run_that_is_released_is_not_run_again",
    ),
    "renew without the fence": mutant(
        "lease.renew",
        "task.epoch = item.epoch AND",
        "",
        "a_write_with_another_epoch_is_refused",
    ),
    "renew shortens": mutant(
        "lease.renew",
        "greatest(lease_until, clock.now + %(lease)s)",
        "clock.now + %(lease)s",
        "a_renewal_never_shortens_a_lease",
    ),
    "renew past the limit": mutant(
        "lease.renew",
        "AND (task.run_deadline IS NULL OR task.run_deadline >= clock.now)",
        "",
        "a_run_past_its_limit_is_not_renewed",
    ),
    "renew asks nobody to stop": mutant(
        "lease.renew",
        "task.cancel_requested\nFROM",
        "FALSE\nFROM",
        "what_runs_is_asked_to_stop_by_its_renewal",
    ),
    "reap of live leases": mutant(
        "lease.reap",
        NOW,
        f"{NOW} + 60000000000",
        "a_live_lease_is_not_reaped",
    ),
    "reap without its mark": mutant("lease.reap", "'reaped'", "'done'", "a_reaped_run_is_stale"),
    "reap in no order": mutant(
        "lease.reap", "ORDER BY lease_until", "ORDER BY lease_until DESC", "reaping_is_fair"
    ),
    "reap without a charge": mutant(
        "lease.reap",
        "lost = lost + 1",
        "lost = lost",
        "a_task_that_loses_its_workers_is_dead",
    ),
    "reap forgets the attempts": mutant(
        "lease.reap",
        "WHEN lost + 1 >= max_lost OR attempt >= max_attempts THEN 6",
        "WHEN lost + 1 >= max_lost THEN 6",
        "a_lost_run_counts_for_max_attempts",
    ),
    "reap forgets a cancel": mutant(
        "lease.reap",
        "WHEN cancel_requested THEN 7",
        "",
        "a_cancelled_run_that_is_lost_is_not_run_again",
    ),
    "epoch not raised": mutant(
        "claim.claim", "epoch = epoch + 1", "epoch = epoch", "the_epoch_rises_at_each_claim"
    ),
    "claim not charged": mutant(
        "claim.claim",
        "attempt = attempt + 1",
        "attempt = attempt",
        "a_claim_answers_the_whole_task",
    ),
    "priority ignored": mutant(
        "claim.claim",
        "ORDER BY row.priority DESC, row.due_at",
        "ORDER BY row.due_at",
        "claims_are_in_order",
    ),
    "claim of what expired": mutant(
        "claim.claim",
        "row.expires_at <= clock.now AS expired",
        "FALSE AS expired",
        "an_expired_task_is_not_claimed",
    ),
    "claim without the promote gate": mutant(
        "claim.claim",
        "(%(promoted)s OR coalesce(upcoming.due > clock.now, true))",
        "(%(promoted)s OR TRUE)",
        "a_retried_task_keeps_its_priority",
    ),
    "claim of any name": mutant(
        "claim.claim",
        "AND name = wanted.name AND state = 3",
        "AND state = 3",
        "only_wanted_names_are_claimed",
    ),
    "claim of any queue": mutant(
        "claim.claim",
        "WHERE queue = %(queue)s AND name = wanted.name AND state = 3",
        "WHERE name = wanted.name AND state = 3",
        "names_and_queues_are_told_apart_exactly",
    ),
    "claim of a paused queue": mutant(
        "claim.claim",
        "AND NOT EXISTS (SELECT FROM pause)",
        "",
        "nothing_is_claimed_of_a_paused_queue",
    ),
    "promoted too early": mutant(
        "claim.promote",
        f"due_at <= {NOW}",
        f"due_at <= {NOW} + 1000000",
        "nothing_is_claimed_before_it_is_due",
    ),
    "ready too early": mutant(
        "push.insert",
        "due.at <= clock.now THEN 3",
        "due.at <= clock.now + 1000000000000 THEN 3",
        "a_delayed_task_is_scheduled",
    ),
    "delay wins over an instant": mutant(
        "push.insert",
        "coalesce(kind.at, least(clock.now + kind.delay, 253402300799999999))",
        "clock.now + kind.delay",
        "an_instant_wins_over_a_delay",
    ),
    "cancel of what has ended": mutant(
        "cancel.cancel",
        "(state < 4 OR (state = 4 AND NOT cancel_requested))",
        "(state <> 4 OR (state = 4 AND NOT cancel_requested))",
        "what_has_ended_is_not_cancelled",
    ),
    "cancel that ends a run": mutant(
        "cancel.cancel",
        "CASE state WHEN 4 THEN 4 ELSE 7 END",
        "7",
        "what_runs_is_asked_to_stop_by_its_renewal",
    ),
    "requeue of what is done": mutant(
        "cancel.requeue",
        "state >= 6",
        "state >= 5",
        "what_is_not_dead_or_cancelled_is_not_requeued",
    ),
    "requeue that keeps the attempts": mutant(
        "cancel.requeue", "attempt = 0,", "", "a_requeued_task_has_all_its_attempts"
    ),
    "requeue that keeps the request": mutant(
        "cancel.requeue",
        "cancel_requested = false, ",
        "",
        "a_requeue_takes_back_a_cancel",
    ),
    "requeue of a tombstone": mutant(
        "cancel.requeue", "AND payload IS NOT NULL", "", "a_tombstone_is_not_requeued"
    ),
    "replaced while it runs": mutant(
        "push.replace",
        "state >= 1 AND state <= 3",
        "state >= 1 AND state <= 4",
        "a_running_task_is_not_replaced",
    ),
    "replaced without its priority": mutant(
        "push.replace",
        "priority = %(priority)s, ",
        "",
        "a_replaced_task_stands_by_its_new_rank",
    ),
    "progress without the claim id": mutant(
        "run.progress",
        "AND claim_id = %(claim)s::uuid",
        "",
        "progress_under_a_stale_fence_is_refused",
    ),
    "checkpoint without the epoch": mutant(
        "run.fenced",
        "AND epoch = %(epoch)s",
        "",
        "a_checkpoint_under_a_stale_fence_is_refused",
    ),
    "checkpoint of what has ended": mutant(
        "run.fenced", "AND state + 0 = 4", "", "a_checkpoint_under_a_stale_fence_is_refused"
    ),
    "last value of a step counts": mutant(
        "run.keep",
        "DO NOTHING",
        "DO UPDATE SET value = excluded.value",
        "the_first_value_of_a_step_counts",
    ),
    "pause for ever": mutant(
        "claim.claim",
        "AND (until IS NULL OR until > clock.now)",
        "",
        "a_pause_ends_at_its_instant",
    ),
    "page of any queue": mutant(
        "board.page",
        "AND (%(queue)s::text IS NULL OR queue = %(queue)s)",
        "AND (%(queue)s::text IS NULL OR TRUE)",
        "tasks_are_listed_by_queue_name_and_state",
    ),
    "page with the one before": mutant(
        "board.page",
        "WHERE task.id < %(after)s::uuid",
        "WHERE task.id <= %(after)s::uuid",
        "every_task_is_listed_once",
    ),
    "worker alive for ever": mutant(
        "board.workers",
        "< 3 * every",
        "< 300 * every",
        "a_worker_is_alive_for_less_than_three_beats",
    ),
    "strip forgets the result": mutant(
        "prune.strip", "result = NULL, ", "", "a_pruned_task_leaves_a_tombstone"
    ),
    "strip leaves the steps": mutant(
        "prune.strip",
        "DELETE FROM {schema}.checkpoint WHERE ctid",
        "DELETE FROM {schema}.checkpoint WHERE FALSE AND ctid",
        "a_tombstone_has_no_checkpoints",
    ),
    "delete in spite of a window": mutant(
        "prune.delete",
        "AND id NOT IN (SELECT task FROM keys, clock WHERE until > clock.now)",
        "",
        "a_window_outlasts_retention",
    ),
    "prune too early": mutant(
        "prune.walk", "> now - CASE", "> now + CASE", "ended_tasks_go_after_their_time"
    ),
}

OWN: Mapping[str, Mutant] = {
    "done forgets the ledger": mutant(
        "settle.done",
        "greatest(task.attempt, item.attempt)",
        "item.attempt",
        "done_keeps_the_ledger",
    ),
    "claim waits": mutant(
        "claim.claim", "FOR UPDATE SKIP LOCKED", "FOR UPDATE", "claim_leaves_a_locked_task"
    ),
    "promote waits": mutant(
        "claim.promote",
        "FOR UPDATE SKIP LOCKED",
        "FOR UPDATE",
        "claim_leaves_a_locked_task_to_be_promoted",
    ),
    "renew waits": mutant("lease.renew", "SKIP LOCKED", "", "renew_passes_a_locked_task"),
    "renew tells what is locked as stale": mutant(
        "lease.renew",
        "FROM item JOIN {schema}.task ON task.id = item.id, clock\n"
        "WHERE task.epoch = item.epoch AND",
        "FROM item JOIN {schema}.task ON task.id = item.id, clock\n"
        "WHERE task.id IN (SELECT id FROM held) AND task.epoch = item.epoch AND",
        "renew_passes_a_locked_task",
    ),
    "reap waits": mutant(
        "lease.reap", "FOR UPDATE SKIP LOCKED", "FOR UPDATE", "reap_leaves_a_locked_task"
    ),
    "sweep waits": mutant(
        "prune.sweep", "FOR UPDATE SKIP LOCKED", "FOR UPDATE", "sweep_leaves_a_locked_task"
    ),
}


def forget() -> None:
    """Have the statements made of the files again."""
    queries.text.cache_clear()
    queries.named.cache_clear()


def change(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a fault into a statement."""
    text = queries._FILES[mutant.file]
    pattern = rf"^-- name: {mutant.name}\n.*?;\n"
    (statement,) = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    assert mutant.part in statement
    faulty = statement.replace(mutant.part, mutant.fault)
    monkeypatch.setitem(queries._FILES, mutant.file, text.replace(statement, faulty))
    forget()


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Have the statements as they are in the files, behind each test."""
    yield
    forget()


@pytest.mark.parametrize("name", MUTANTS)
async def test_conformance_finds_a_faulty_statement_of_postgres(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str
) -> None:
    """Each fault breaks the rule that is named with it."""
    mutant, make = MUTANTS[name], BACKENDS["postgres"](tmp_path)
    await backend_rules[mutant.rule].check(make)

    change(mutant, monkeypatch)

    with pytest.raises(RuleBroken, match=r"must (be|hold)"):
        await backend_rules[mutant.rule].check(make)


@pytest.mark.parametrize("name", OWN)
async def test_own_tests_find_a_faulty_statement_of_postgres(
    name: str, monkeypatch: pytest.MonkeyPatch, postgres: str, postgres_schema: str
) -> None:
    """Each fault fails the test that is named with it."""
    mutant = OWN[name]
    tests = importlib.import_module("tests.backends.postgres.test_postgres_statements")
    test = getattr(tests, f"test_postgres_{mutant.rule}")

    change(mutant, monkeypatch)

    async with PostgresStorage(postgres, str, schema=postgres_schema) as storage:
        with pytest.raises((AssertionError, BackendError)):
            await test(storage, postgres, postgres_schema)
