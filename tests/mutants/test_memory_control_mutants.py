"""The rules of control can fail: they find each fault put into memory's control operations."""

import pytest

from tests.mutants.mutant import Mutant, Workshop, on_trio

BOOK, KEYS = "backends/memory/book.py", "backends/memory/keys.py"
ENDED, STORAGE = "backends/memory/ended.py", "backends/memory/storage.py"


def rules(*names: str) -> list[str]:
    """Answer the tests that check rules of the suite on memory."""
    tests = (f"backend_keeps_the_rule[memory-{name}]" for name in names)
    return on_trio("conformance/test_conformance", *tests)


def control(*tests: str) -> list[str]:
    """Answer tests of what control leaves behind in memory."""
    return on_trio("backends/test_memory_control", *(f"memory_{test}" for test in tests))


CANCEL = [
    Mutant(
        "cancel ends what runs",
        "The store says cancelled while the handler goes on charging the customer.",
        BOOK,
        "        if row.status is Status.RUNNING:\n            row.cancel_requested = True\n"
        "        elif changed:\n            self._index.withdraw(row, Status.CANCELLED)\n",
        "        if changed:\n            row.status = Status.CANCELLED\n",
        rules("what_runs_is_asked_to_stop_by_its_renewal", "a_run_that_is_done_first_stays_done"),
    ),
    Mutant(
        "cancelled task without an end",
        "A task that was cancelled is kept for ever.",
        BOOK,
        "            self._index.withdraw(row, Status.CANCELLED)\n"
        "            self._end(row, Status.CANCELLED, now)\n",
        "            self._index.withdraw(row, Status.CANCELLED)\n",
        rules("what_does_not_run_is_cancelled_at_once"),
    ),
    Mutant(
        "ended task cancelled",
        "A task that was done is told to have been cancelled.",
        BOOK,
        "changed = not (row.status.is_terminal or row.cancel_requested)",
        "changed = not row.cancel_requested",
        rules("a_cancel_may_be_repeated"),
    ),
    Mutant(
        "cancel not told by renewals",
        "A cancelled run goes on to its end.",
        BOOK,
        "return Renewal.CANCEL if row.cancel_requested else Renewal.OK",
        "return Renewal.OK",
        rules("what_runs_is_asked_to_stop_by_its_renewal", "other_runs_are_not_asked_to_stop"),
    ),
    Mutant(
        "cancelled run retried",
        "A task that was cancelled comes back, because its run failed just then.",
        BOOK,
        "        elif row.cancel_requested:\n            self._end(row, Status.CANCELLED, now, end",
        "        elif row.lost > 99:\n            self._end(row, Status.CANCELLED, now, end",
        rules("a_cancelled_run_that_fails_is_not_run_again"),
    ),
    Mutant(
        "dead told as cancelled",
        "Nobody learns that the task failed for good.",
        BOOK,
        "        elif isinstance(ending, Dead) or row.exhausted:\n",
        "        elif (isinstance(ending, Dead) or row.exhausted) and not row.cancel_requested:\n",
        rules("a_run_that_fails_for_good_first_is_dead"),
    ),
    Mutant(
        "cancelled run released",
        "A task that was cancelled comes back, because its worker stopped just then.",
        BOOK,
        "        if row.cancel_requested:\n            self._end(row, Status.CANCELLED, now)\n"
        "        elif item.delay > 0:",
        "        if item.delay > 0:",
        rules("a_cancelled_run_that_is_released_is_not_run_again"),
    ),
    Mutant(
        "cancelled run reaped into a retry",
        "A task that was cancelled comes back, because its worker died.",
        BOOK,
        "        if row.cancel_requested:\n            self._end(row, Status.CANCELLED, now)\n"
        "        elif row.lost >=",
        "        if row.lost >=",
        rules("a_cancelled_run_that_is_lost_is_not_run_again"),
    ),
    Mutant(
        "cancel tells nobody",
        "Who waits for a task that is cancelled waits for another poll.",
        STORAGE,
        "        changes = [self._book.cancel(one, now) for one in ids]\n"
        "        self.ended.notify()\n",
        "        changes = [self._book.cancel(one, now) for one in ids]\n",
        rules("a_cancel_ends_a_wait"),
    ),
    Mutant(
        "cancelled tasks pile up",
        "A program that schedules and cancels runs out of memory.",
        "backends/memory/index.py",
        "        lines[row.draft.queue, row.draft.name].withdraw()\n",
        "",
        control("lets_go_of_cancelled_tasks[31536000.0]", "lets_go_of_replaced_tasks"),
    ),
    Mutant(
        "what is cleared out takes others with it",
        "Tasks are lost because others were cancelled.",
        "backends/memory/line.py",
        "            self._heap = list(filter(self._is_true, self._heap))\n"
        "            heapify(self._heap)\n",
        "            self._heap = []\n            heapify(self._heap)\n",
        control("claims_in_order_whatever_was_cancelled[0]"),
    ),
]
REQUEUE = [
    Mutant(
        "done requeued",
        "A payment that was made is made again.",
        BOOK,
        "REQUEUED = (Status.DEAD, Status.CANCELLED)",
        "REQUEUED = (Status.DEAD, Status.CANCELLED, Status.DONE)",
        rules("what_is_not_dead_or_cancelled_is_not_requeued"),
    ),
    Mutant(
        "tombstone requeued",
        "A handler is run without its arguments.",
        BOOK,
        "if row.status not in REQUEUED or row.stripped:",
        "if row.status not in REQUEUED:",
        rules("a_tombstone_is_not_requeued"),
    ),
    Mutant(
        "requeue gives the epoch back",
        "A worker that lost the task before writes to its next run.",
        "backends/memory/rows.py",
        "self.attempt = self.lost = self.finished = 0",
        "self.attempt = self.lost = self.finished = self.epoch = 0",
        rules("a_dead_or_cancelled_task_runs_again"),
    ),
    Mutant(
        "requeue keeps the attempts",
        "A requeued task is dead after its first failure.",
        "backends/memory/rows.py",
        "self.attempt = self.lost = self.finished = 0",
        "self.finished = 0",
        rules("a_requeued_task_has_all_its_attempts", "a_requeued_task_may_be_retried"),
    ),
    Mutant(
        "requeue keeps the cancel",
        "A requeued task is asked to stop as soon as it starts.",
        "backends/memory/rows.py",
        "        self.due = now\n        self.attempt = self.lost = self.finished = 0\n"
        "        self.cancel_requested = False\n",
        "        self.due = now\n        self.attempt = self.lost = self.finished = 0\n",
        rules("a_requeue_takes_back_a_cancel"),
    ),
    Mutant(
        "requeue keeps the expiry",
        "A task that is requeued because it expired expires again.",
        "backends/memory/rows.py",
        "        self.draft = self.draft._replace(expires_at=None)\n",
        "",
        rules("a_requeue_lifts_an_expiry"),
    ),
    Mutant(
        "requeued task pruned",
        "A task vanishes while it waits to run again.",
        BOOK,
        "if change.changed})\n",
        "if change.holder})\n",
        rules("a_requeued_task_is_not_pruned"),
    ),
    Mutant(
        "requeue tells nobody",
        "A requeued task waits for another poll.",
        STORAGE,
        "        changes = self._book.requeue(ids, self._micros())\n        self.pushed.notify()\n",
        "        changes = self._book.requeue(ids, self._micros())\n",
        rules("a_requeue_gives_a_hint"),
    ),
    Mutant(
        "requeue ignores the key",
        "Two tasks of one key run at the same time.",
        BOOK,
        "        elif holder is not row:\n",
        "        elif row.lost > 99:\n",
        rules(
            "a_requeue_does_not_take_a_key_from_a_live_task", "of_two_of_one_key_one_is_requeued"
        ),
    ),
    Mutant(
        "requeue does not take the key",
        "A push beside a requeued task of the same key stores a second one.",
        BOOK,
        "            self.keys.take(row, now)\n        elif holder",
        "            pass\n        elif holder",
        rules(
            "a_requeue_does_not_take_a_key_from_a_live_task", "of_two_of_one_key_one_is_requeued"
        ),
    ),
]
PAGES = [
    Mutant(
        "page loses one in between",
        "One of each hundred dead tasks is never found, nor requeued.",
        "backends/memory/listing.py",
        "return Page(found, ids[looked_at - 1])",
        "return Page(found, ids[looked_at])",
        rules("every_task_is_listed_once"),
    ),
    Mutant(
        "page unbounded",
        "A look for what is rare holds up the loop.",
        "backends/memory/listing.py",
        "if looked_at == bound or len(found) == limit:",
        "if len(found) == limit:",
        control("looks_at_a_bounded_part_for_a_page"),
    ),
    Mutant(
        "any error matches",
        "A requeue by error requeues what failed of another one last.",
        "backends/memory/listing.py",
        "row.errors[-1:]",
        "row.errors",
        rules("tasks_are_listed_by_their_last_error"),
    ),
    Mutant(
        "until includes its instant",
        "What is pushed at midnight is listed for two days.",
        "backends/memory/listing.py",
        "row.created < to_micros(wanted.until)",
        "row.created <= to_micros(wanted.until)",
        rules("tasks_are_listed_by_the_time_of_their_push"),
    ),
]
PAUSE = [
    Mutant(
        "pause ignored",
        "Tasks run into the system that the queue was paused for.",
        BOOK,
        "        if paused := self.pauses.left(claimant.queue, now):\n",
        "        if (paused := self.pauses.left(claimant.queue, now)) < 0:\n",
        rules("nothing_is_claimed_of_a_paused_queue", "a_pause_ends_at_its_instant"),
    ),
    Mutant(
        "pause never ends",
        "A queue that was paused for an hour stands still.",
        "backends/memory/pauses.py",
        "self._until[queue] = FOREVER if until is None else until",
        "self._until[queue] = FOREVER",
        rules("a_pause_ends_at_its_instant", "the_last_pause_counts"),
    ),
    Mutant(
        "pause pauses all queues",
        "Everything stands still.",
        "backends/memory/pauses.py",
        "max(self._until.get(queue, 0) - now, 0)",
        "max(*self._until.values(), 0, 0) - now if max(*self._until.values(), 0, 0) > now else 0",
        rules("other_queues_are_not_paused"),
    ),
    Mutant(
        "resume tells nobody",
        "A resumed queue stands still until the next poll.",
        STORAGE,
        "        self._book.pauses.resume(queue)\n        self.pushed.notify()\n",
        "        self._book.pauses.resume(queue)\n",
        rules("a_resume_gives_a_hint"),
    ),
]
KEEPING = [
    Mutant(
        "dead worker shown alive",
        "Nobody notices that a machine is gone.",
        "backends/memory/crew.py",
        "MISSED = 3\n",
        "MISSED = 3.1\n",
        rules("a_worker_is_alive_for_less_than_three_beats"),
    ),
    Mutant(
        "gone workers kept",
        "The list of workers grows with every deployment.",
        BOOK,
        "        self.crew.prune(now)\n",
        "",
        rules("a_worker_is_forgotten_a_day_after_it_was_seen"),
    ),
    Mutant(
        "unfenced progress",
        "A worker that lost its run shows the progress of the other one falling.",
        BOOK,
        "        if row := self._fenced(fence):\n            row.progress = value\n",
        "        if row := self.rows.get(fence.id):\n            row.progress = value\n",
        rules("progress_under_a_stale_fence_is_refused"),
    ),
    Mutant(
        "unfenced checkpoint",
        "A worker that lost its run decides what the next one goes on with.",
        BOOK,
        "        if row := self._fenced(fence):\n            row.steps",
        "        if row := self.rows.get(fence.id):\n            row.steps",
        rules("a_checkpoint_under_a_stale_fence_is_refused"),
    ),
    Mutant(
        "last checkpoint wins",
        "A charge whose id was kept is replaced by a second charge.",
        BOOK,
        "            return row.steps.setdefault(step, value)\n",
        "            row.steps[step] = value\n            return value\n",
        rules("the_first_value_of_a_step_counts", "checkpoints_outlive_the_run"),
    ),
    Mutant(
        "tombstone keeps progress and checkpoints",
        "What was to be forgotten is still there.",
        "backends/memory/rows.py",
        "self.result = self.progress = self.steps = None",
        "self.result = None",
        rules("a_tombstone_has_no_progress", "a_tombstone_has_no_checkpoints"),
    ),
]
DEDUP = [
    Mutant(
        "key freed with the run",
        "A report is made twice because its first run failed.",
        KEYS,
        "(not row.status.is_terminal or now < until)",
        "(row.status in (1, 3, 4) or now < until)",
        rules("a_live_task_holds_its_key"),
    ),
    Mutant(
        "key never freed",
        "The report of the next day is never made.",
        KEYS,
        "(not row.status.is_terminal or now < until)",
        "(row.created or now < until)",
        rules(
            "a_key_is_free_when_its_task_has_ended",
            "a_key_is_free_when_its_task_expired_or_was_lost",
            "a_key_is_free_when_its_task_was_cancelled",
        ),
    ),
    Mutant(
        "window ignored",
        "A webhook that is sent again a second later is handled twice.",
        KEYS,
        "(not row.status.is_terminal or now < until)",
        "not row.status.is_terminal",
        rules("a_window_holds_the_key_after_the_end", "a_requeued_task_keeps_its_own_window"),
    ),
    Mutant(
        "window ends with retention",
        "A webhook that is sent again a day later is handled twice, whatever the window.",
        ENDED,
        " and not self._window_is_open(row, now):",
        ":",
        rules("a_window_outlasts_retention"),
    ),
    Mutant(
        "key across queues",
        "A task of one tenant keeps another's out.",
        KEYS,
        "            self._taken[row.draft.queue, row.draft.dedup.key] = (row, until)\n",
        "            self._taken[row.draft.queue, row.draft.dedup.key] = (row, until)\n"
        '            self._taken["elsewhere", row.draft.dedup.key] = (row, until)\n',
        rules("keys_are_told_apart_exactly"),
    ),
    Mutant(
        "rejected push stores its first tasks",
        "A caller that repeats a refused call stores half of it twice.",
        STORAGE,
        "admit(drafts, self._book.rows, now)\n                break\n",
        "admit([draft], self._book.rows, now)\n            self._book.insert(draft, now)\n",
        rules("a_rejected_push_stores_nothing_of_its_call", "a_push_is_rejected_within_a_batch"),
    ),
    Mutant(
        "rejection within a call overlooked",
        "A push that must not be doubled is dropped in silence.",
        KEYS,
        "if key in keys or self.holder(*key, now):",
        "if self.holder(*key, now):",
        rules("a_push_is_rejected_within_a_batch"),
    ),
    Mutant(
        "repeated push in conflict with itself",
        "A push repeated after a lost answer is refused although it was stored.",
        KEYS,
        "            if draft.id in known or draft.id in ids:\n                continue\n",
        "",
        rules("a_repeated_push_with_a_key_is_its_own_duplicate"),
    ),
    Mutant(
        "running task replaced",
        "A run ends as one of arguments that it never saw.",
        BOOK,
        "if not replaces or holder.status not in UNSTARTED:",
        "if not replaces or holder.status.is_terminal:",
        rules("a_running_task_is_not_replaced"),
    ),
    Mutant(
        "ended task replaced",
        "A task that is done is done again.",
        BOOK,
        "if not replaces or holder.status not in UNSTARTED:",
        "if not replaces or holder.status is Status.RUNNING:",
        rules("an_ended_task_is_not_replaced"),
    ),
    Mutant(
        "replaced task keeps its place",
        "The newest search for a customer waits behind all others.",
        BOOK,
        "        self._index.withdraw(holder, Status.CANCELLED)\n        self._add(row, now)\n",
        "        holder.draft, holder.due, row = row.draft, row.due, holder\n",
        rules(
            "a_replaced_task_stands_by_its_new_rank", "a_replaced_task_is_due_as_the_new_one_says"
        ),
    ),
    Mutant(
        "replaced task keeps its expiry",
        "What was put off to tomorrow expires today.",
        "backends/memory/rows.py",
        "            expires_at=draft.expires_at,\n",
        "",
        rules("a_replaced_task_expires_as_the_new_one_says"),
    ),
    Mutant(
        "key freed by a task that has lost it",
        "Two tasks of one key run at the same time.",
        KEYS,
        "if key in self._taken and self._taken[key][0] is row:",
        "if key in self._taken:",
        control("keeps_a_key_that_another_task_has_taken_over"),
    ),
]
MUTANTS = [*CANCEL, *REQUEUE, *PAGES, *PAUSE, *KEEPING, *DEDUP]


def test_killers_of_control_mutants_pass_without_a_fault(workshop: Workshop) -> None:
    """So it is the fault that they find."""
    assert not workshop.troubles(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_fault_in_the_control_of_memory_is_found(workshop: Workshop, mutant: Mutant) -> None:
    """The tests named with a fault fail because of it."""
    assert not workshop.survives(mutant)
