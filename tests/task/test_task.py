"""Tasks, their runs, ids and states."""

import random
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime

import pytest

from layered import CancelReason, Status, Task
from layered.task import (
    MOVES,
    Draft,
    Fence,
    Lease,
    Run,
    Settling,
    checked_id,
    from_micros,
    new_id,
    to_micros,
)


def lease() -> Lease:
    """Make a lease by hand."""
    return Lease(
        Fence("id", 3, b"claim"), "mails", "Email", b"{}", "json", 1, {"a": "b"}, 7, 2, 5, 1, 0, 0
    )


def test_ids_are_uuids_of_version_7_and_rise() -> None:
    """Tasks pushed one after the other keep that order."""
    ids = [new_id() for _ in range(10_000)]

    assert ids == sorted(set(ids))
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}


def test_ids_rise_while_the_clock_stands_or_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock is coarser than a program, and may be set."""
    ticks = iter([5_000_000_000, 5_000_000_000, 5_000_000_000, 4_000_000_000])
    monkeypatch.setattr("layered.task.ids._last", 0)
    monkeypatch.setattr(time, "time_ns", lambda: next(ticks))

    ids = [new_id() for _ in range(4)]

    assert ids == sorted(set(ids))
    assert [one[:18] for one in ids] == [f"00000000-1388-700{n}" for n in range(4)]


def test_ids_do_not_depend_on_the_program_seeding_random() -> None:
    """Two processes with one seed must not make the same ids."""
    random.seed(0)
    first = new_id()
    random.seed(0)

    assert first[-12:] != new_id()[-12:]


def test_ids_differ_after_a_fork() -> None:
    """A child does not go on with its parent's random numbers."""
    program = (
        "import os, layered.task as t\n"
        "t.new_id()\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.write(write, t.new_id()[-12:].encode()); os._exit(0)\n"
        "os.wait()\n"
        "print(os.read(read, 12).decode() != t.new_id()[-12:])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "True"


def test_id_of_a_user_is_brought_into_one_form() -> None:
    """Idempotency needs one spelling."""
    plain = "01a20a50-3774-7275-88da-68529aac2d3e"

    assert checked_id(plain.upper()) == checked_id(uuid.UUID(plain)) == plain
    with pytest.raises(ValueError, match="must be a UUID, got '42'; pass a UUID"):
        checked_id("42")


def test_task_reads_its_lease() -> None:
    """The properties are the lease's fields; the attempt is the ledger's."""
    task = Task("args", Run(lease()))

    assert (task.id, task.queue, task.name, task.priority) == ("id", "mails", "Email", 7)
    assert (task.attempt, task.max_attempts, task.metadata) == (2, 5, {"a": "b"})
    assert task.claimed
    assert task.due_at == task.created_at == datetime(1970, 1, 1, tzinfo=UTC)


def test_task_around_a_push_was_not_claimed() -> None:
    """A layer can tell a push from a run."""
    task = Task("args", Run(Draft("id", "mails", "Email", b"")))

    assert not task.claimed
    assert (task.attempt, task.created_at, task.due_at) == (0, None, None)


def test_replaced_task_shares_the_run() -> None:
    """Other arguments, same ledger."""
    task = Task("args", Run(lease()))

    other = task.replace(5)
    other.run.attempt += 1

    assert (other.args, task.attempt) == (5, 3)


def test_repr_of_a_task_hides_its_arguments() -> None:
    """Arguments may be secret; logs print tasks."""
    assert "secret" not in repr(Task("secret", Run(lease())))


def test_repr_of_a_run_tells_its_attempt_and_why_it_was_cancelled() -> None:
    """For logs."""
    run = Run(lease())
    before = repr(run)
    run.cancel(CancelReason.DEADLINE)

    assert before == "<Run of id attempt 2>"
    assert repr(run) == "<Run of id attempt 2 cancelled by deadline>"


def test_lease_of_a_run_is_none_around_a_push() -> None:
    """Nothing was claimed there."""
    claimed = lease()

    assert Run(claimed).lease is claimed
    assert Run(Draft("id", "mails", "Email", b"{}")).lease is None


def test_first_reason_of_a_cancellation_stands() -> None:
    """What is settled follows from the reason, so it must not change."""
    run = Run(lease())

    assert run.cancel(CancelReason.USER)
    assert not run.cancel(CancelReason.DRAIN)
    assert run.reason is CancelReason.USER


def test_run_that_began_to_settle_is_not_cancelled() -> None:
    """Its transaction may have committed."""
    run = Run(lease())
    run.settling = Settling.STARTED

    assert not run.cancel(CancelReason.DEADLINE)
    assert run.reason is None


def test_no_move_leaves_done() -> None:
    """A result is final; dead and cancelled can be requeued only."""
    moves = [(name, move) for name, made in MOVES.items() for move in made]

    assert [name for name, (before, _) in moves if before is Status.DONE] == []
    assert {name for name, (before, _) in moves if before.is_terminal} == {"requeue"}


def test_instants_survive_the_journey_to_microseconds() -> None:
    """Stores keep instants as integers; naive ones are refused with the way out."""
    instant = datetime(2026, 11, 23, 21, 14, 5, 123456, tzinfo=UTC)

    assert from_micros(to_micros(instant)) == instant
    with pytest.raises(ValueError, match="no time zone; give an aware datetime"):
        to_micros(datetime(2026, 1, 1))  # noqa: DTZ001 - naive on purpose
