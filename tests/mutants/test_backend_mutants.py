"""The tests of backends can fail: they find each fault put into memory's book or SQLite."""

import pytest

from tests.mutants.mutant import Mutant, Workshop, on_trio


def rules(backend: str, *names: str) -> list[str]:
    """Answer the tests that check rules of the suite on *backend*."""
    tests = (f"backend_keeps_the_rule[{backend}-{name}]" for name in names)
    return on_trio("conformance/test_conformance", *tests)


MEMORY = [
    Mutant(
        "unfenced settle",
        "A worker that lost its lease ends a task that has ended, or that another one runs.",
        "backends/memory/book.py",
        "        row = self._fenced(item.fence)\n"
        "        if row is None:\n"
        "            return self._refused(item.fence, operation)\n",
        "        row = self.rows.get(item.fence.id)\n"
        "        if row is None:\n"
        "            return self._refused(item.fence, operation)\n",
        rules("memory", "a_write_after_the_next_claim_is_refused", "nothing_follows_an_ending"),
    ),
    Mutant(
        "fence by state only",
        "A worker that lost its lease ends the run of another one.",
        "backends/memory/book.py",
        "row is None or row.epoch != fence.epoch or row.claim_id != fence.claim_id",
        "row is None",
        rules(
            "memory",
            "a_write_with_another_epoch_is_refused",
            "a_write_with_another_claim_id_is_refused",
        ),
    ),
    Mutant(
        "fence without the claim id",
        "A store that forgot its last commits lets two workers write to one task.",
        "backends/memory/book.py",
        " or row.claim_id != fence.claim_id",
        "",
        rules("memory", "a_write_with_another_claim_id_is_refused"),
    ),
    Mutant(
        "unfenced renew",
        "A worker that lost its lease keeps the new run's lease alive, and goes on.",
        "backends/memory/book.py",
        "        row = self._fenced(item.fence)\n        if row is None or mono",
        "        row = self._running.get(item.fence.id)\n        if row is None or mono",
        rules("memory", "a_write_with_another_epoch_is_refused"),
    ),
    Mutant(
        "run limit ignored by renew",
        "A run that hangs is renewed for ever, whatever its deadline.",
        "backends/memory/book.py",
        "if row is None or mono > row.run_deadline:",
        "if row is None:",
        rules("memory", "a_run_past_its_limit_is_not_renewed"),
    ),
    Mutant(
        "epoch given back at release",
        "The run after a release has the same epoch as the one before.",
        "backends/memory/book.py",
        '        row.settled = (row.claim_id, "release")\n',
        '        row.settled = (row.claim_id, "release")\n        row.epoch -= 1\n',
        rules("memory", "the_epoch_rises_at_each_claim"),
    ),
    Mutant(
        "release charged",
        "Each deployment uses up a run of every task that it interrupts.",
        "backends/memory/book.py",
        "row.attempt = max(row.attempt, item.attempt) - 1",
        "row.attempt = max(row.attempt, item.attempt)",
        rules("memory", "a_release_is_not_charged"),
    ),
    Mutant(
        "ledger overwritten",
        "A late write takes back runs that were charged, so poison runs on.",
        "backends/memory/book.py",
        "row.attempt = max(row.attempt, item.attempt)\n        row.settled = (row.claim_id, op",
        "row.attempt = item.attempt\n        row.settled = (row.claim_id, op",
        rules("memory", "the_ledger_never_falls"),
    ),
    Mutant(
        "unbounded poison pill",
        "A task that kills its worker kills all of them, one after the other, for ever.",
        "backends/memory/book.py",
        "elif row.lost >= draft.max_lost or row.exhausted:",
        "elif row.exhausted:",
        rules("memory", "a_task_that_loses_its_workers_is_dead"),
    ),
    Mutant(
        "max_attempts ignored by reap",
        "A task allowed one run has as many as there are crashes.",
        "backends/memory/book.py",
        "elif row.lost >= draft.max_lost or row.exhausted:",
        "elif row.lost >= draft.max_lost:",
        rules("memory", "a_lost_run_counts_for_max_attempts"),
    ),
    Mutant(
        "max_attempts ignored by settle",
        "A task allowed three runs is retried for ever.",
        "backends/memory/book.py",
        "elif isinstance(ending, Dead) or row.exhausted:",
        "elif isinstance(ending, Dead):",
        rules("memory", "a_retry_at_max_attempts_is_dead"),
    ),
    Mutant(
        "reap of live leases",
        "Tasks that are being worked on are run a second time.",
        "backends/memory/book.py",
        "if row.lease_until <= mono]",
        "]",
        rules("memory", "a_live_lease_is_not_reaped"),
    ),
    Mutant(
        "renewal shortens",
        "A second, shorter renewal takes the lease away from the first.",
        "backends/memory/book.py",
        "max(row.lease_until, mono + lease)",
        "mono + lease",
        rules("memory", "a_renewal_never_shortens_a_lease"),
    ),
    Mutant(
        "claim before due",
        "A reminder for tomorrow is sent today.",
        "backends/memory/index.py",
        "if first is None or first[1] > now:",
        "if first is None or first[1] > now + 1_000_000:",
        rules("memory", "nothing_is_claimed_before_it_is_due"),
    ),
    Mutant(
        "expired claimed",
        "An offer that ended yesterday is sent today.",
        "backends/memory/book.py",
        "            if _expired(row, now):\n",
        "            if False:\n",
        rules("memory", "an_expired_task_is_not_claimed"),
    ),
    Mutant(
        "unknown name claimed",
        "A worker takes tasks that it has no handler for.",
        "backends/memory/book.py",
        "rows = self._index.take(queue, left, now, most)",
        "rows = self._index.take(queue, {n: most for n in self.names(queue)}, now, most)\n"
        "        left = dict.fromkeys(self.names(queue), most)",
        rules("memory", "only_wanted_names_are_claimed"),
    ),
    Mutant(
        "already answered for stale",
        "A worker whose write was refused believes that it was applied.",
        "backends/memory/book.py",
        "row.settled == (fence.claim_id, operation)",
        "row.settled is not None",
        rules(
            "memory",
            "another_ending_after_a_settle_is_stale",
            "a_reaped_run_is_stale",
        ),
    ),
    Mutant(
        "batch item aborting others",
        "One task that was taken over keeps all that ended with it from being written.",
        "backends/memory/storage.py",
        "answers = [self._book.settle(item, now) for item in items]",
        "answers = []\n"
        "        for item in items:\n"
        "            answers.append(self._book.settle(item, now))\n"
        "            if answers[-1].status is None:\n"
        "                raise BackendError",
        rules("memory", "one_stale_item_does_not_abort_a_batch"),
    ),
    Mutant(
        "results overwritten",
        "A settle that was repeated after a lost answer replaces the result.",
        "backends/memory/book.py",
        "            return self._refused(item.fence, operation)\n"
        "        row.attempt = max(row.attempt, item.attempt)\n"
        "        row.settled = (row.claim_id, operation)\n",
        "            done = self.rows.get(item.fence.id)\n"
        "            if done is not None and isinstance(ending, Done):\n"
        "                done.result = ending.result\n"
        "            return self._refused(item.fence, operation)\n"
        "        row.attempt = max(row.attempt, item.attempt)\n"
        "        row.settled = (row.claim_id, operation)\n",
        on_trio("backend/test_repeated_edges", "result_of_a_done_task_never_changes[memory]"),
    ),
    Mutant(
        "push not idempotent",
        "A push repeated after a lost answer replaces the task, and runs it twice.",
        "backends/memory/book.py",
        "        if row is not None:\n            return Pushed(draft.id, row.status)\n",
        "",
        rules("memory", "an_id_is_stored_once"),
    ),
    Mutant(
        "priority ignored",
        "A password reset waits behind a newsletter.",
        "backends/memory/index.py",
        "_READY, -draft.priority",
        "_READY, 0",
        rules("memory", "claims_are_in_order"),
    ),
    Mutant(
        "lost wake-up at push",
        "Every task waits for the next poll.",
        "backends/memory/storage.py",
        "answers = [self._book.insert(draft, now) for draft in drafts]\n"
        "        self.pushed.notify()\n",
        "answers = [self._book.insert(draft, now) for draft in drafts]\n",
        on_trio("worker/test_running", "worker_wakes_at_a_hint_without_waiting_for_the_poll"),
    ),
    Mutant(
        "end missed by wait_for",
        "Who waits for a task that ends just then waits for another poll.",
        "backend/storage.py",
        "            with self.ended.listening(changed.set):\n"
        "                records = await self.fetch(wanted)\n",
        "            records = await self.fetch(wanted)\n"
        "            with self.ended.listening(changed.set):\n",
        on_trio(
            "backend/test_repeated_edges", "waiting_notices_an_end_between_its_look_and_its_wait"
        ),
    ),
]

SQLITE = [
    Mutant(
        "epoch given back at release by SQLite",
        "The run after a release has the same epoch as the one before.",
        "backends/sqlite/settle.sql",
        "    attempt = max(attempt, :attempt) - 1,\n",
        "    attempt = max(attempt, :attempt) - 1, epoch = epoch - 1,\n",
        rules("sqlite", "the_epoch_rises_at_each_claim"),
    ),
    Mutant(
        "unbounded poison pill in SQLite",
        "A task that kills its worker kills all of them, one after the other, for ever.",
        "backends/sqlite/lease.sql",
        "SELECT seq, id, name, owner, attempt, max_attempts, lost, max_lost, cancel_requested",
        "SELECT seq, id, name, owner, attempt, max_attempts, lost, 1000, cancel_requested",
        rules("sqlite", "a_task_that_loses_its_workers_is_dead"),
    ),
    Mutant(
        "batch item aborting others in SQLite",
        "One task that was taken over keeps all that ended with it from being written.",
        "backends/sqlite/settle.py",
        "        return APPLIED[status]\n    return _refused",
        "        return APPLIED[status]\n"
        '    connection.execute("SELECT raise")\n'
        "    return _refused",
        rules("sqlite", "one_stale_item_does_not_abort_a_batch"),
    ),
    Mutant(
        "run limit ignored by SQLite",
        "A run that hangs is renewed for ever, whatever its deadline.",
        "backends/sqlite/lease.sql",
        "    AND task.state = 4 AND (task.run_deadline IS NULL OR task.run_deadline >= :mono);\n\n"
        "-- Answers",
        "    AND task.state = 4;\n\n-- Answers",
        rules("sqlite", "a_run_past_its_limit_is_not_renewed"),
    ),
    Mutant(
        "renew forgets the ledger in SQLite",
        "A task that kills its worker in a rerun is charged one run for all of them.",
        "backends/sqlite/lease.sql",
        "    attempt = max(task.attempt, item.attempt)\n",
        "    attempt = task.attempt\n",
        rules("sqlite", "the_ledger_never_falls"),
    ),
    Mutant(
        "results overwritten in SQLite",
        "A settle that was repeated after a lost answer replaces the result.",
        "backends/sqlite/settle.sql",
        "WHERE id = ? AND epoch = ? AND claim_id = ? AND state = 4;\n\n-- The same",
        "WHERE id = ? AND epoch = ? AND claim_id = ? AND state IN (4, 5);\n\n-- The same",
        on_trio("backend/test_repeated_edges", "result_of_a_done_task_never_changes[sqlite]"),
    ),
]

MUTANTS = MEMORY + SQLITE


def test_killers_pass_without_a_fault(workshop: Workshop) -> None:
    """So it is the fault that they find."""
    assert not workshop.troubles(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_fault_in_a_backend_is_found(workshop: Workshop, mutant: Mutant) -> None:
    """The tests named with a fault fail because of it."""
    assert not workshop.survives(mutant)
