"""Rules of settle: what each ending writes, and how a batch is answered."""

from __future__ import annotations

from datetime import timedelta

from layered.backend import (
    Cancelled,
    Dead,
    Done,
    Failure,
    Renew,
    Retry,
    Settle,
)
from layered.task import Status
from layered.testing.conformance.backend.store import (
    ENDINGS,
    FAILURE,
    Store,
    done,
    draft,
    ends,
)
from layered.testing.conformance.backend.suite import rule
from layered.testing.conformance.rule import equal


@rule()
async def done_keeps_the_result(store: Store) -> None:
    """A run that ended well leaves its result, its end and its attempts."""
    lease = await store.running()
    await store.clock.advance(2)

    answer = await store.settle(ends(lease, Done(b"\x00\xff"), 3))
    record = await store.read(lease.id)

    equal(answer, ["applied done"], "the answer")
    row = (record.status, record.result, record.attempt)
    equal(row, (Status.DONE, b"\x00\xff", 3), "state, result and attempt")
    equal(record.finished_at, store.clock.now, "when it ended")
    equal(len(await store.claim()), 0, "the number of tasks claimed after it")


@rule()
async def dead_keeps_payload_and_error(store: Store) -> None:
    """A task that failed for good can be looked at."""
    lease = await store.running(payload=b"input")
    failure = Failure("E", "tricky \udc80 \x00 text \N{SNOWMAN}", "trace\n")

    answer = await store.settle(ends(lease, Dead(failure)))
    record = await store.read(lease.id)

    equal(answer, ["applied dead"], "the answer")
    equal((record.status, record.payload), (Status.DEAD, b"input"), "state and payload")
    equal(list(record.errors), [failure], "the errors")
    equal(record.finished_at, store.clock.now, "when it ended")
    equal(len(await store.claim()), 0, "the number of tasks claimed after it")


@rule()
async def cancelled_is_an_end(store: Store) -> None:
    """A run that a user cancelled ends its task."""
    lease = await store.running()

    answer = await store.settle(ends(lease, Cancelled()))
    record = await store.read(lease.id)

    equal(answer, ["applied cancelled"], "the answer")
    equal((record.status, record.finished_at), (Status.CANCELLED, store.clock.now), "its end")
    equal(len(await store.claim()), 0, "the number of tasks claimed after it")


@rule()
async def a_retry_comes_back_after_its_delay(store: Store) -> None:
    """A failed run's error is kept, and the task is due again after the delay."""
    lease = await store.running()
    due = store.clock.now + timedelta(seconds=30)

    answer = await store.settle(ends(lease, Retry(FAILURE, 30.0)))
    record = await store.read(lease.id)
    await store.clock.advance(29.75)
    early = await store.claim()
    await store.clock.advance(0.25)
    again = await store.lease()

    equal(answer, ["applied retry"], "the answer")
    equal((record.status, list(record.errors)), (Status.RETRY, [FAILURE]), "state and errors")
    equal((record.due_at, record.finished_at), (due, None), "due_at and finished_at")
    equal(len(early), 0, "the number of tasks claimed before the delay was over")
    equal((again.attempt, again.fence.epoch), (2, 2), "attempt and epoch of the second run")


@rule()
async def a_retry_at_max_attempts_is_dead(store: Store) -> None:
    """The bound that was set at the push holds, whatever the worker asks for."""
    lease = await store.running(max_attempts=2)
    await store.settle(ends(lease, Retry(FAILURE, 0.0)))
    lease = await store.lease()

    answer = await store.settle(ends(lease, Retry(FAILURE, 0.0), 2))
    again = await store.settle(ends(lease, Retry(FAILURE, 0.0), 2))
    record = await store.read(lease.id)

    equal(answer, ["applied dead"], "the answer to the last retry")
    equal(again, ["already dead"], "the answer to the same again")
    row = (record.status, len(record.errors), record.finished_at)
    equal(row, (Status.DEAD, 2, store.clock.now), "state, number of errors and end")


@rule()
async def reruns_in_process_count_for_max_attempts(store: Store) -> None:
    """The ledger that is sent with the settle decides, where it is the greater."""
    lease = await store.running(max_attempts=3)

    answer = await store.settle(ends(lease, Retry(FAILURE, 0.0), 3))

    equal(answer, ["applied dead"], "the answer to a retry after three runs in process")


@rule()
async def the_ledger_never_falls(store: Store) -> None:
    """The stored attempt is the greater of stored and sent, for settle and renew."""
    lease = await store.running()
    await store.renew(Renew(lease.fence, 4))
    await store.renew(Renew(lease.fence, 2))

    await store.settle(ends(lease, Retry(FAILURE, 0.0), 1))

    equal((await store.read(lease.id)).attempt, 4, "the attempt after 4, 2 and 1 were sent")
    equal((await store.lease()).attempt, 5, "the attempt of the next run")


@rule()
async def the_last_five_errors_are_kept(store: Store) -> None:
    """The oldest go first."""
    one = draft()
    await store.push(one)
    for number in range(7):
        lease = await store.lease()
        await store.settle(ends(lease, Retry(Failure("E", str(number)), 0.0), lease.attempt))

    errors = (await store.read(one.id)).errors

    equal([failure.message for failure in errors], ["2", "3", "4", "5", "6"], "the errors of seven")


@rule()
async def one_stale_item_does_not_abort_a_batch(store: Store) -> None:
    """Each item of a batch is answered for itself, in order."""
    await store.push(*(draft() for _ in range(5)))
    leases = await store.claim()
    await store.settle(done(leases[1], b"before"))
    stale = done(leases[2], b"stale")._replace(fence=leases[2].fence._replace(epoch=9))
    failed = Settle(leases[3].fence, Retry(FAILURE, 1.0), 1)

    answers = await store.settle(
        done(leases[4]), stale, failed, done(leases[1]), done(leases[0]), done(leases[0])
    )

    wanted = [
        "applied done", "stale", "applied retry", "already done", "applied done", "already done",
    ]  # fmt: skip
    equal(answers, wanted, "the answers to the batch")
    equal((await store.read(leases[1].id)).result, b"before", "the result of the one done before")
    running = (await store.read(leases[2].id)).status
    equal(running, Status.RUNNING, "the state of the one with a stale fence")


@rule()
async def a_batch_leaves_what_has_ended(store: Store) -> None:
    """A batch of good ends that comes twice changes nothing the second time."""
    await store.push(*(draft() for _ in range(3)))
    leases = await store.claim()
    await store.settle(*(done(lease, b"first") for lease in leases))

    answers = await store.settle(*(done(lease, b"second") for lease in leases))
    records = await store.read_all(*(lease.id for lease in leases))

    equal(answers, ["already done"] * 3, "the answers to the second batch")
    equal([record.result for record in records], [b"first"] * 3, "the results")


@rule()
async def a_batch_of_another_epoch_is_refused(store: Store) -> None:
    """Many good ends at once, all with fences of another claim, change nothing."""
    await store.push(*(draft() for _ in range(3)))
    leases = await store.claim()
    fences = [lease.fence for lease in leases]
    later = [fence._replace(epoch=2) for fence in fences]
    foreign = [fence._replace(claim_id=bytes(16)) for fence in fences]

    for wrong in (later, foreign):
        answers = await store.settle(*(Settle(fence, Done(None), 1) for fence in wrong))
        equal(answers, ["stale"] * 3, "the answers to a batch with fences of another claim")

    records = await store.read_all(*(lease.id for lease in leases))
    equal([record.status for record in records], [Status.RUNNING] * 3, "the states")


@rule()
async def a_large_batch_is_settled_in_order(store: Store) -> None:
    """Every result is kept with its own task, however many there are and in any order."""
    await store.push(*(draft() for _ in range(300)))
    leases = await store.claim(most=300)

    answers = await store.settle(*(done(one, one.id.encode()) for one in reversed(leases)))
    records = await store.read_all(*(lease.id for lease in leases))

    equal(answers, ["applied done"] * 300, "the answers")
    wrong = [record.id for record in records if record.result != record.id.encode()]
    equal(wrong, [], "the tasks that have the result of another")


@rule()
async def no_result_is_not_an_empty_result(store: Store) -> None:
    """`None` and no bytes are told apart."""
    found = []
    for result in (None, b""):
        lease = await store.running()
        await store.settle(done(lease, result))
        found.append((await store.read(lease.id)).result)

    equal(found, [None, b""], "the results")


@rule()
async def every_ending_may_be_in_one_batch(store: Store) -> None:
    """The items of a batch are of any kind, and in any order of ids."""
    await store.push(*(draft() for _ in range(4)))
    leases = [*await store.claim()][::-1]

    endings = ENDINGS.values()
    answers = await store.settle(*map(ends, leases, endings))
    records = await store.read_all(*(lease.id for lease in leases))

    equal(answers, [f"applied {name}" for name in ENDINGS], "the answers")
    equal([record.status.label for record in records], [*ENDINGS], "the states")


@rule()
async def a_failed_task_that_ends_well_keeps_its_errors(store: Store) -> None:
    """What went wrong before can be looked at."""
    lease = await store.running()
    await store.settle(ends(lease, Retry(FAILURE, 0.0)))
    again = await store.lease()

    await store.settle(done(again, b"7"))
    record = await store.read(lease.id)

    equal((record.status, record.result), (Status.DONE, b"7"), "state and result")
    equal(list(record.errors), [FAILURE], "the errors")
    equal((record.attempt, record.owner), (2, "me"), "attempt and owner")
