"""The tests of control can fail: they find each fault put into its code for SQLite."""

import pytest

from tests.mutants.mutant import Mutant, Workshop, on_trio

FOLDER = "backends/sqlite"


def rules(*names: str) -> list[str]:
    """Answer the tests that check rules of the suite on SQLite."""
    tests = (f"backend_keeps_the_rule[sqlite-{name}]" for name in names)
    return on_trio("conformance/test_conformance", *tests)


def control(*tests: str) -> list[str]:
    """Answer tests of what control does in a file."""
    return on_trio("backends/test_sqlite_control", *(f"sqlite_{test}" for test in tests))


MUTANTS = [
    Mutant(
        "repeated push rejected",
        "A push that is sent again after a lost answer fails because of itself.",
        f"{FOLDER}/push.py",
        "if draft.dedup is not None and not connection.execute(_STATE, (draft.id,)).fetchall():",
        "if draft.dedup is not None:",
        control("answers_a_repeated_push_by_its_id"),
    ),
    Mutant(
        "key never held",
        "Every click on the button makes a task of its own.",
        f"{FOLDER}/push.py",
        "        hold(connection, draft.queue, draft.dedup.key, draft.id, "
        "after(now, draft.dedup.window))\n",
        "",
        rules("a_live_task_holds_its_key", "a_key_pushed_by_many_at_once_is_held_by_one"),
    ),
    Mutant(
        "rejected push kept by halves",
        "A push fails, and some of its tasks run all the same.",
        f"{FOLDER}/push.py",
        "        raise Conflict(msg)",
        '        connection.execute("COMMIT")\n        raise Conflict(msg)',
        rules("a_rejected_push_stores_nothing_of_its_call"),
    ),
    Mutant(
        "window of the second push forgotten",
        "A task that was replaced by one with a window is pushed again at once.",
        f"{FOLDER}/push.py",
        "            hold(connection, draft.queue, dedup.key, found.id, "
        "after(now, dedup.window))\n",
        "",
        rules("a_replacement_begins_a_window_of_its_own"),
    ),
    Mutant(
        "requeued beside the holder",
        "Two tasks of one key run at the same time.",
        f"{FOLDER}/cancel.py",
        "        elif found.id != id_:\n",
        "        elif found.id == queue:\n",
        rules("a_requeue_does_not_take_a_key_from_a_live_task"),
    ),
    Mutant(
        "requeued without the key",
        "A push of the same key makes a second task beside the requeued one.",
        f"{FOLDER}/cancel.py",
        "            hold(connection, queue, key, id_, now)\n",
        "            pass\n",
        control("requeues_one_task_of_a_key"),
    ),
    Mutant(
        "pause overlooked by claims",
        "An operator pauses a queue, and nothing happens.",
        f"{FOLDER}/claim.py",
        "    if (paused := held_up(connection, queue, now)) is not None:\n",
        "    if (paused := held_up(connection, queue, now)) is NotImplemented:\n",
        control("pauses_a_queue_for_all_storages_of_a_file"),
    ),
    Mutant(
        "pause without its end",
        "A worker sleeps on when a pause is over, or asks again and again during it.",
        f"{FOLDER}/queues.py",
        "next_due_in=None if until is None else (until - now) / 1e6",
        "next_due_in=None",
        rules("a_pause_ends_at_its_instant"),
    ),
    Mutant(
        "pause listed when it is over",
        "The page says that a queue is paused from which everybody claims.",
        f"{FOLDER}/queues.sql",
        "SELECT name, paused AND (until IS NULL OR until > ?), until FROM",
        "SELECT name, paused AND (? OR TRUE), until FROM",
        control("tells_no_pause_that_is_over"),
    ),
    Mutant(
        "queue unknown until it is paused",
        "A queue cannot be found by those who want to pause it.",
        f"{FOLDER}/storage.py",
        "            await self._write(partial(register, queue=self.queue))\n",
        "",
        control("knows_the_queues_that_a_storage_was_opened_for"),
    ),
    Mutant(
        "waiters not told of a cancel",
        "Who waits for a task learns of its cancellation a second late.",
        f"{FOLDER}/control.py",
        "            self.ended.notify()\n",
        "            pass\n",
        control("gives_hints_of_what_it_was_told_to_do"),
    ),
    Mutant(
        "workers not told of a resume",
        "A resumed queue stands still until the next poll.",
        f"{FOLDER}/control.py",
        "        await self._write(lambda connection: queueing.resume(connection, queue))\n"
        "        self.pushed.notify()\n",
        "        await self._write(lambda connection: queueing.resume(connection, queue))\n",
        control("gives_hints_of_what_it_was_told_to_do"),
    ),
    Mutant(
        "tombstone without its window",
        "A push within the window makes a second task, because the first was pruned.",
        f"{FOLDER}/prune.py",
        "if finished <= tombstone and not held:",
        "if finished <= tombstone:",
        control("keeps_a_tombstone_while_its_window_is_open"),
    ),
    Mutant(
        "keys never removed",
        "The file grows by every key that was ever used.",
        f"{FOLDER}/prune.py",
        '            connection.execute(_FREE, {"rows": gone, "now": now})\n',
        "",
        control("leaves_nothing_of_a_task_that_is_gone"),
    ),
    Mutant(
        "workers never forgotten",
        "The list of workers grows with every restart.",
        f"{FOLDER}/prune.py",
        "    forget(connection, now)\n",
        "",
        control("forgets_workers_after_a_day"),
    ),
    Mutant(
        "page of too many rows",
        "A look for a rare error reads the whole store, and holds up all other reads.",
        f"{FOLDER}/read.py",
        "max(SCANNED, limit) - 1",
        "1_000_000_000",
        control("page_looks_at_so_many_rows_and_no_more"),
    ),
    Mutant(
        "page that ends too early",
        "Tasks beyond the first rows are never found.",
        f"{FOLDER}/read.py",
        "tasks[-1].id if len(rows) > limit else floor",
        "tasks[-1].id if len(rows) > limit else None",
        control("page_looks_at_so_many_rows_and_no_more"),
    ),
    Mutant(
        "outdated file taken",
        "A new program fails at a missing table, in the middle of its work.",
        f"{FOLDER}/connection.py",
        "        if found.version != SCHEMA:\n",
        "        if found.version > SCHEMA:\n",
        on_trio(
            "backends/test_sqlite_file",
            "sqlite_leaves_another_schema_alone[1-version .* that made it]",
        ),
    ),
]


def test_killers_pass_without_a_fault(workshop: Workshop) -> None:
    """So it is the fault that they find."""
    assert not workshop.troubles(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_fault_in_control_on_sqlite_is_found(workshop: Workshop, mutant: Mutant) -> None:
    """The tests named with a fault fail because of it."""
    assert not workshop.survives(mutant)
