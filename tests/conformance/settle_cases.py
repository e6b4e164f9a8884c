"""Cases of settle and release: the fence, and what each ending writes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from layered.backend import (
    ALREADY,
    APPLIED,
    STALE,
    Answer,
    Cancelled,
    Dead,
    Done,
    Ending,
    Failure,
    Release,
    Renew,
    Renewal,
    Retry,
    Settle,
    Storage,
)
from layered.task import Fence, Status
from tests.conformance.harness import (
    FAILURE,
    LOST,
    START,
    Clock,
    case,
    claim,
    claim_one,
    done,
    draft,
    read,
    running,
)

NOW = datetime.fromtimestamp(START, UTC)
ENDINGS: Sequence[Ending] = (Done(b"1"), Retry(FAILURE, 5.0), Dead(FAILURE), Cancelled())


async def refused(storage: Storage[Any], fence: Fence) -> None:
    """Show that every write under *fence* is stale and changes nothing."""
    before = await read(storage, fence.id)

    for ending in ENDINGS:
        assert list(await storage.settle([Settle(fence, ending, 9)])) == [STALE], ending
    assert list(await storage.release([Release(fence, 0.0, 9)])) == [STALE]
    assert list(await storage.renew([Renew(fence, 9)], 30.0)) == [Renewal.STALE]

    assert attrs.asdict(await read(storage, fence.id), recurse=False) == attrs.asdict(
        before, recurse=False
    )


@case()
async def a_write_with_another_epoch_is_refused(storage: Storage[Any], clock: Clock) -> None:
    """A fence of an earlier or later claim changes nothing of a running task."""
    fence = (await running(storage)).fence

    for epoch in (fence.epoch - 1, fence.epoch + 1):
        await refused(storage, fence._replace(epoch=epoch))


@case()
async def a_write_with_another_claim_id_is_refused(storage: Storage[Any], clock: Clock) -> None:
    """The same epoch is not enough: a store that lost its last commits issues it twice."""
    fence = (await running(storage)).fence

    await refused(storage, fence._replace(claim_id=bytes(16)))


@case()
async def a_write_to_an_ended_task_is_refused(storage: Storage[Any], clock: Clock) -> None:
    """Done is never left, whoever asks and with whatever fence."""
    lease = await running(storage)
    await storage.settle([done(lease, b"7")])

    await refused(storage, lease.fence._replace(claim_id=bytes(16)))
    other = [Settle(lease.fence, ending, 9) for ending in ENDINGS[1:]]

    assert list(await storage.settle(other)) == [STALE] * 3
    assert (await read(storage, lease.id)).result == b"7"


@case()
async def nothing_follows_an_ending(storage: Storage[Any], clock: Clock) -> None:
    """A run ends once: its own fence is worth nothing for another ending, release or renewal."""
    for first in ENDINGS:
        lease = await running(storage)
        await storage.settle([Settle(lease.fence, first, 1)])
        before = attrs.asdict(await read(storage, lease.id), recurse=False)

        others = [Settle(lease.fence, other, 9) for other in ENDINGS if other is not first]
        for other in others:
            assert list(await storage.settle([other])) == [STALE], (first, other)
        assert list(await storage.release([Release(lease.fence, 0.0, 9)])) == [STALE]
        assert list(await storage.renew([Renew(lease.fence, 9)], 30.0)) == [Renewal.STALE]

        assert attrs.asdict(await read(storage, lease.id), recurse=False) == before


@case()
async def a_write_after_the_next_claim_is_refused(storage: Storage[Any], clock: Clock) -> None:
    """A worker that was taken for lost cannot touch the run of the next one."""
    lost = await running(storage, LOST)
    await storage.reap(10)
    clock.at += 60
    await claim_one(storage)

    await refused(storage, lost.fence)


@case()
async def a_write_to_a_missing_task_is_refused(storage: Storage[Any], clock: Clock) -> None:
    """A task that is not there is stale, and no error."""
    fence = Fence("01890000-0000-7000-8000-000000000000", 1, bytes(16))

    assert list(await storage.settle([Settle(fence, Done(None), 1)])) == [STALE]
    assert list(await storage.renew([Renew(fence, 1)], 30.0)) == [Renewal.STALE]


@case()
async def done_keeps_the_result(storage: Storage[Any], clock: Clock) -> None:
    """A run that ended well leaves its result, its end and its attempts."""
    lease = await running(storage)
    clock.at += 2

    answers = await storage.settle([Settle(lease.fence, Done(b"\x00\xff"), 3)])
    record = await read(storage, lease.id)

    assert list(answers) == [APPLIED[Status.DONE]]
    assert (record.status, record.result, record.attempt) == (Status.DONE, b"\x00\xff", 3)
    assert record.finished_at == NOW + timedelta(seconds=2)
    assert list((await claim(storage)).leases) == []


@case()
async def dead_keeps_payload_and_error(storage: Storage[Any], clock: Clock) -> None:
    """A task that failed for good can be looked at."""
    lease = await running(storage, payload=b"input")
    failure = Failure("E", "tricky \udc80 \x00 text \N{SNOWMAN}", "trace\n")

    answers = await storage.settle([Settle(lease.fence, Dead(failure), 1)])
    record = await read(storage, lease.id)

    assert list(answers) == [APPLIED[Status.DEAD]]
    assert (record.status, record.payload) == (Status.DEAD, b"input")
    assert list(record.errors) == [failure]
    assert record.finished_at == NOW


@case()
async def cancelled_is_an_end(storage: Storage[Any], clock: Clock) -> None:
    """A run that a user cancelled ends its task."""
    lease = await running(storage)

    answers = await storage.settle([Settle(lease.fence, Cancelled(), 1)])

    assert list(answers) == [APPLIED[Status.CANCELLED]]
    assert (await read(storage, lease.id)).finished_at == NOW
    assert list((await claim(storage)).leases) == []


@case()
async def a_retry_comes_back_after_its_delay(storage: Storage[Any], clock: Clock) -> None:
    """A failed run's error is kept, and the task is due again after the delay."""
    lease = await running(storage)

    answers = await storage.settle([Settle(lease.fence, Retry(FAILURE, 30.0), 1)])
    record = await read(storage, lease.id)
    early = await claim(storage)
    clock.at += 30
    again = await claim_one(storage)

    assert list(answers) == [APPLIED[Status.RETRY]]
    assert (record.status, list(record.errors)) == (Status.RETRY, [FAILURE])
    assert (record.due_at, record.finished_at) == (NOW + timedelta(seconds=30), None)
    assert list(early.leases) == []
    assert (again.attempt, again.fence.epoch) == (2, 2)


@case()
async def a_retry_at_max_attempts_is_dead(storage: Storage[Any], clock: Clock) -> None:
    """The bound that was set at the push holds, whatever the worker asks for."""
    lease = await running(storage, max_attempts=2)
    await storage.settle([Settle(lease.fence, Retry(FAILURE, 0.0), 1)])
    lease = await claim_one(storage)

    answers = await storage.settle([Settle(lease.fence, Retry(FAILURE, 0.0), 2)])
    again = await storage.settle([Settle(lease.fence, Retry(FAILURE, 0.0), 2)])
    record = await read(storage, lease.id)

    assert list(answers) == [APPLIED[Status.DEAD]]
    assert list(again) == [ALREADY[Status.DEAD]]
    assert (record.status, len(record.errors), record.finished_at) == (Status.DEAD, 2, NOW)


@case()
async def reruns_in_process_count_for_max_attempts(storage: Storage[Any], clock: Clock) -> None:
    """The ledger that is sent with the settle decides, where it is the greater."""
    lease = await running(storage, max_attempts=3)

    answers = await storage.settle([Settle(lease.fence, Retry(FAILURE, 0.0), 3)])

    assert list(answers) == [APPLIED[Status.DEAD]]


@case()
async def the_ledger_never_falls(storage: Storage[Any], clock: Clock) -> None:
    """The stored attempt is the greater of stored and sent, for settle and renew."""
    lease = await running(storage)
    await storage.renew([Renew(lease.fence, 4)], 30.0)
    await storage.renew([Renew(lease.fence, 2)], 30.0)

    await storage.settle([Settle(lease.fence, Retry(FAILURE, 0.0), 1)])

    assert (await read(storage, lease.id)).attempt == 4
    assert (await claim_one(storage)).attempt == 5


@case()
async def the_last_five_errors_are_kept(storage: Storage[Any], clock: Clock) -> None:
    """The oldest go first."""
    one = draft()
    await storage.insert([one])
    for number in range(7):
        lease = await claim_one(storage)
        retry = Retry(Failure("E", str(number)), 0.0)
        await storage.settle([Settle(lease.fence, retry, lease.attempt)])

    errors = (await read(storage, one.id)).errors

    assert [failure.message for failure in errors] == ["2", "3", "4", "5", "6"]


@case()
async def the_same_settle_again_is_known(storage: Storage[Any], clock: Clock) -> None:
    """After an unknown outcome a worker repeats its settle: it is applied once."""
    for ending in ENDINGS:
        lease = await running(storage)
        first = await storage.settle([Settle(lease.fence, ending, 1)])
        before = attrs.asdict(await read(storage, lease.id), recurse=False)

        (again,) = await storage.settle([Settle(lease.fence, ending, 1)])

        assert again == ALREADY[first[0].status or Status.WAITING]
        assert attrs.asdict(await read(storage, lease.id), recurse=False) == before


@case()
async def another_ending_after_a_settle_is_stale(storage: Storage[Any], clock: Clock) -> None:
    """Only the same operation of the same claim counts as applied before."""
    lease = await running(storage)
    await storage.settle([Settle(lease.fence, Retry(FAILURE, 0.0), 1)])
    newer = await claim_one(storage)

    answers = await storage.settle([done(lease), Settle(lease.fence, Retry(FAILURE, 0.0), 1)])

    assert list(answers) == [STALE, ALREADY[Status.RUNNING]]
    assert list(await storage.settle([done(newer)])) == [APPLIED[Status.DONE]]


@case()
async def one_stale_item_does_not_abort_a_batch(storage: Storage[Any], clock: Clock) -> None:
    """Each item of a batch is answered for itself, in order."""
    await storage.insert([draft() for _ in range(5)])
    leases = (await claim(storage)).leases
    await storage.settle([done(leases[1], b"before")])
    stale = done(leases[2], b"stale")._replace(fence=leases[2].fence._replace(epoch=9))
    failed = Settle(leases[3].fence, Retry(FAILURE, 1.0), 1)

    answers = await storage.settle(
        [done(leases[4]), stale, failed, done(leases[1]), done(leases[0]), done(leases[0])]
    )

    end = Status.DONE
    assert list(answers) == [
        APPLIED[end], STALE, APPLIED[Status.RETRY], ALREADY[end], APPLIED[end], ALREADY[end],
    ]  # fmt: skip
    assert (await read(storage, leases[1].id)).result == b"before"
    assert (await read(storage, leases[2].id)).status is Status.RUNNING


@case()
async def a_batch_leaves_what_has_ended(storage: Storage[Any], clock: Clock) -> None:
    """A batch of good ends that comes twice changes nothing the second time."""
    await storage.insert([draft() for _ in range(3)])
    leases = (await claim(storage)).leases
    await storage.settle([done(lease, b"first") for lease in leases])

    answers = await storage.settle([done(lease, b"second") for lease in leases])
    records = await storage.fetch([lease.id for lease in leases])

    assert list(answers) == [ALREADY[Status.DONE]] * 3
    assert [record and record.result for record in records] == [b"first"] * 3


@case()
async def a_batch_of_another_epoch_is_refused(storage: Storage[Any], clock: Clock) -> None:
    """Many good ends at once, all with fences of another claim, change nothing."""
    await storage.insert([draft() for _ in range(3)])
    leases = (await claim(storage)).leases
    for wrong in ({"epoch": 2}, {"claim_id": bytes(16)}):
        items = [done(each)._replace(fence=each.fence._replace(**wrong)) for each in leases]

        assert list(await storage.settle(items)) == [STALE] * 3

    records = await storage.fetch([lease.id for lease in leases])
    assert [record and record.status for record in records] == [Status.RUNNING] * 3


@case()
async def a_large_batch_is_settled_in_order(storage: Storage[Any], clock: Clock) -> None:
    """Every result is kept with its own task, however many there are and in any order."""
    await storage.insert([draft() for _ in range(300)])
    leases = (await claim(storage, most=300)).leases
    items = [done(lease, lease.id.encode()) for lease in reversed(leases)]

    answers: Sequence[Answer] = await storage.settle(items)
    records = await storage.fetch([lease.id for lease in leases])

    assert list(answers) == [APPLIED[Status.DONE]] * 300
    assert all(record and record.result == record.id.encode() for record in records)


@case()
async def a_release_is_not_charged(storage: Storage[Any], clock: Clock) -> None:
    """A task that was given back is ready at once, in its old place, with its old attempts."""
    lease = await running(storage, max_attempts=1)
    clock.at += 5

    answers = await storage.release([Release(lease.fence, 0.0, 1)])
    record = await read(storage, lease.id)
    again = await claim_one(storage)

    assert list(answers) == [APPLIED[Status.READY]]
    assert (record.status, record.attempt, record.due_at) == (Status.READY, 0, NOW)
    assert (again.attempt, again.fence.epoch) == (1, 2)


@case()
async def a_release_may_have_a_delay(storage: Storage[Any], clock: Clock) -> None:
    """A snoozed task waits for its delay; reruns in process stay charged."""
    lease = await running(storage)

    answers = await storage.release([Release(lease.fence, 15.0, 3)])
    record = await read(storage, lease.id)
    early = await claim(storage)
    clock.at += 15

    assert list(answers) == [APPLIED[Status.RETRY]]
    assert (record.attempt, record.due_at) == (2, NOW + timedelta(seconds=15))
    assert list(early.leases) == []
    assert (await claim_one(storage)).attempt == 3


@case()
async def the_same_release_again_is_known(storage: Storage[Any], clock: Clock) -> None:
    """A repeated release is answered, and applied once; a settle after it is stale."""
    lease = await running(storage)
    await storage.release([Release(lease.fence, 0.0, 1)])

    again = await storage.release([Release(lease.fence, 0.0, 1)])

    assert list(again) == [ALREADY[Status.READY]]
    assert list(await storage.settle([done(lease)])) == [STALE]
    assert (await read(storage, lease.id)).attempt == 0


@case()
async def returns_and_ends_give_hints(storage: Storage[Any], clock: Clock) -> None:
    """Releases and retries may be claimed again, ends may be waited for."""
    pushed: list[str] = []
    ended: list[str] = []
    await storage.insert([draft() for _ in range(3)])
    one, two, three = (await claim(storage)).leases

    with (
        storage.pushed.listening(lambda: pushed.append("pushed")),
        storage.ended.listening(lambda: ended.append("ended")),
    ):
        await storage.release([Release(one.fence, 0.0, 1)])
        assert pushed
        pushed.clear()
        await storage.settle([Settle(two.fence, Retry(FAILURE, 1.0), 1)])
        assert pushed
        await storage.settle([done(three)])
        assert ended
