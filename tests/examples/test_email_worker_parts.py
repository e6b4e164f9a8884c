"""The parts of `examples/email_worker`, each without the others where possible."""

from __future__ import annotations

import io
import itertools
import math
import os
import pathlib
import signal
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import SMTP
from email.utils import parseaddr

import anyio
import anyio.lowlevel
import pytest

from examples.email_worker.faults import SLOW_ANSWER, Fault, fault, refusal
from examples.email_worker.message import (
    Email,
    Template,
    read_recipients,
    task_of,
    wire_address,
)
from examples.email_worker.processes import ServerProcess, mail_server
from examples.email_worker.progress import Progress
from examples.email_worker.report import (
    DROPPED,
    KILLED,
    SLOW,
    UNSEEN,
    Delivery,
    Ordered,
    Report,
    Row,
    deliverable,
    make_report,
    percentile,
    read_ledger,
)
from examples.email_worker.smtp import Disconnected, Refused, SmtpSession, connect

RECIPIENTS = read_recipients()
TEMPLATE = Template.read()
HOST = "127.0.0.1"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run on both loops."""
    return str(request.param)


@pytest.fixture
def ledger(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the server of this test keeps its ledger."""
    return tmp_path / "ledger.jsonl"


@pytest.fixture
async def server(ledger: pathlib.Path) -> AsyncIterator[ServerProcess]:
    """Run a real mail server in a process of its own."""
    async with mail_server(ledger) as process:
        yield process


def entries(ledger: pathlib.Path) -> list[Delivery]:
    """Read what the server has accepted up to now."""
    return read_ledger(ledger.read_text())


def someone_with(kind: Fault, *, attempt: int = 1) -> str:
    """Give a recipient whose try number *attempt* meets *kind*, and none before it."""
    candidates = (f"reader{number}@example.org" for number in itertools.count())
    return next(
        one
        for one in candidates
        if fault(one, attempt) is kind
        and all(fault(one, early) is Fault.NONE for early in range(1, attempt))
    )


async def send(port: int, to: str, task_id: str = "task-1") -> str:
    """Send one mail over a connection of its own."""
    email = Email(to=to, name='Ωmega, "O\'Brien"', subject="Grüße " * 30, note="Hi.\n.\n..\n")
    async with connect(HOST, port) as session:
        message = TEMPLATE.message(email, task_id)
        return await session.send(message, sender=TEMPLATE.sender, to=wire_address(to))


# The recipients and the faults


def test_recipients_are_many_distinct_and_hard() -> None:
    """The file has what makes mail hard: many scripts, quotes, commas, long subjects."""
    addresses = {wire_address(one.to).lower() for one in RECIPIENTS}

    assert len(RECIPIENTS) == 1200
    assert len(addresses) == 1200
    assert sum(not one.name.isascii() for one in RECIPIENTS) > 600
    assert sum(len(one.subject) > 78 and not one.subject.isascii() for one in RECIPIENTS) > 100
    assert all(any(mark in one.name for one in RECIPIENTS) for mark in ',"\n')
    assert any("\n.\n" in one.note for one in RECIPIENTS)


def test_recipients_have_two_percent_that_the_server_never_takes() -> None:
    """Some are malformed, some well formed but unknown."""
    reasons = [refusal(wire_address(one.to)) for one in RECIPIENTS]

    assert sum(reason is not None for reason in reasons) == 24
    assert {reason for reason in reasons if reason} == {
        "malformed address",
        "malformed domain",
        "no such domain",
        "no such mailbox",
    }


def test_faults_have_the_promised_shares() -> None:
    """About 5 % of first tries are refused for now, 1 % slow, 1 % dropped."""
    kinds = [fault(one.to, 1) for one in RECIPIENTS]

    assert 0.035 < kinds.count(Fault.TEMPORARY) / len(kinds) < 0.065
    slow = kinds.count(Fault.SLOW_BEFORE) + kinds.count(Fault.SLOW_AFTER)
    dropped = kinds.count(Fault.DROP_BEFORE) + kinds.count(Fault.DROP_AFTER)
    assert 0.005 < slow / len(kinds) < 0.015
    assert 0.005 < dropped / len(kinds) < 0.015
    assert set(kinds) == set(Fault)


def test_faults_let_every_recipient_through_within_the_demo_s_attempts() -> None:
    """Four tries reach everybody; the worker has eight, and loses at most one by SIGKILL."""
    good = [wire_address(one.to) for one in RECIPIENTS if deliverable(one.to)]

    tries = [
        next(attempt for attempt in itertools.count(1) if fault(one, attempt) is Fault.NONE)
        for one in good
    ]

    assert max(tries) <= 4


def test_fault_is_the_same_everywhere() -> None:
    """A figure from another machine and another Python: the seed decides alone."""
    assert fault("Ada@example.org", 7) is fault("ada@EXAMPLE.org", 7)
    assert someone_with(Fault.TEMPORARY) == "reader7@example.org"


# The message


def decoded(value: str) -> str:
    """Decode as RFC 2047 says (the parser of `email.policy.default` keeps stray spaces)."""
    return str(make_header(decode_header(value)))


def one_line(text: str) -> str:
    """Undo line breaks and runs of spaces."""
    return " ".join(text.split())


def test_message_brings_every_row_over_the_wire_unchanged() -> None:
    """Subject, name, address, text and id of all deliverable rows survive encoding."""
    for number, email in enumerate(RECIPIENTS):
        if not deliverable(email.to):
            continue
        data = TEMPLATE.message(email, f"id-{number}").as_bytes(policy=SMTP)
        headers, _, _ = data.partition(b"\r\n\r\n")
        read = message_from_bytes(data)
        name, address = parseaddr(read["To"].replace("\r\n", ""))
        payload = read.get_payload(decode=True)
        assert isinstance(payload, bytes)
        text = payload.decode(str(read.get_content_charset("us-ascii")))

        assert headers.isascii()
        assert decoded(read["Subject"]) == one_line(email.subject)
        assert (decoded(name), address) == (one_line(email.name), wire_address(email.to))
        assert email.note.replace("\n", "\r\n") in text
        assert task_of(read["Message-ID"]) == f"id-{number}"


def test_message_folds_long_subjects() -> None:
    """No header line is longer than 78 characters, though the subject is."""
    email = Email(to="a@example.org", name="Ada", subject="Größe 大きさ " * 20, note="")

    data = TEMPLATE.message(email, "id").as_bytes(policy=SMTP)

    headers, _, _ = data.partition(b"\r\n\r\n")
    assert max(map(len, headers.split(b"\r\n"))) <= 78


def test_message_cannot_be_given_extra_headers() -> None:
    """A line break in a row stays inside its header."""
    email = Email(to="a@example.org", name="A\nBcc: b@example.org", subject="S\r\nX: y", note="")

    data = TEMPLATE.message(email, "id").as_bytes(policy=SMTP)

    read = message_from_bytes(data)
    assert (read["Bcc"], read["X"], read["Subject"]) == (None, None, "S X: y")


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("ada@example.org", "ada@example.org"),
        (" ada@bücher.example ", "ada@xn--bcher-kva.example"),
        ("no address", "no address"),
        ("user@example..com", "user@example..com"),
    ],
)
def test_wire_address_has_an_ascii_domain(address: str, wire: str) -> None:
    """An internationalised domain is encoded, and nonsense is left to the server."""
    assert wire_address(address) == wire


# The server and the client, on both loops, over a real connection


async def test_smtp_delivers_and_the_ledger_has_it_before_the_answer(
    server: ServerProcess, ledger: pathlib.Path
) -> None:
    """After the 250 the mail is in the ledger, under its task id."""
    answer = await send(server.port, someone_with(Fault.NONE), "task-7")

    [line] = entries(ledger)
    assert answer == "250 2.0.0 accepted"
    assert (line.task_id, line.fault) == ("task-7", Fault.NONE)


async def test_smtp_is_refused_for_now_and_taken_on_the_next_try(server: ServerProcess) -> None:
    """A 450 is not permanent; the server counts the tries."""
    to = someone_with(Fault.TEMPORARY)

    with pytest.raises(Refused) as caught:
        await send(server.port, to)

    assert (caught.value.code, caught.value.permanent) == (450, False)
    assert str(caught.value) == "450 4.2.1 mailbox busy, try again later"
    if fault(to, 2) is Fault.NONE:
        assert await send(server.port, to) == "250 2.0.0 accepted"


async def test_smtp_is_refused_for_good_for_every_bad_recipient(
    server: ServerProcess, ledger: pathlib.Path
) -> None:
    """Each bad row of the file gets a 5xx, and none gets into the ledger."""
    bad = [one.to for one in RECIPIENTS if not deliverable(one.to)]

    for to in bad:
        with pytest.raises(Refused) as caught:
            await send(server.port, to)
        assert caught.value.permanent, to

    assert entries(ledger) == []


@pytest.mark.parametrize("kind", [Fault.DROP_BEFORE, Fault.DROP_AFTER])
async def test_smtp_cannot_tell_whether_a_dropped_mail_was_accepted(
    server: ServerProcess, ledger: pathlib.Path, kind: Fault
) -> None:
    """The same error before and after the ledger's line."""
    with pytest.raises(Disconnected):
        await send(server.port, someone_with(kind))

    faults = [line.fault for line in entries(ledger)]
    assert faults == ([Fault.DROP_AFTER] if kind is Fault.DROP_AFTER else [])


@pytest.mark.parametrize("kind", [Fault.SLOW_BEFORE, Fault.SLOW_AFTER])
async def test_smtp_gives_up_at_once_when_cancelled(server: ServerProcess, kind: Fault) -> None:
    """A time limit ends a slow delivery as itself, and nobody waits for the server."""
    to = someone_with(kind)

    began = anyio.current_time()
    with anyio.move_on_after(0.3) as limit:
        await send(server.port, to)

    assert limit.cancelled_caught
    assert anyio.current_time() - began < SLOW_ANSWER
    faults = await server.stop()
    assert faults == {kind: 1}


async def test_smtp_connects_to_nobody_with_an_oserror(server: ServerProcess) -> None:
    """A server that is gone is an ordinary error."""
    await server.stop()

    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await send(server.port, "ada@example.org")


async def test_server_serves_others_while_it_is_slow(
    server: ServerProcess, ledger: pathlib.Path
) -> None:
    """A slow answer for one recipient holds up no other one."""
    answered = []

    async def send_slowly() -> None:
        answered.append(await send(server.port, someone_with(Fault.SLOW_AFTER)))

    async with anyio.create_task_group() as group:
        group.start_soon(send_slowly)
        while not entries(ledger):  # from its line on, the server sleeps
            await anyio.lowlevel.checkpoint()
        await send(server.port, someone_with(Fault.NONE))

        assert answered == []
        group.cancel_scope.cancel()


async def test_server_stops_at_sigterm_and_when_its_parent_is_gone(ledger: pathlib.Path) -> None:
    """Either way it ends by itself, with status 0."""
    async with mail_server(ledger) as first:
        os.kill(first._process.pid, signal.SIGTERM)
        assert await first._process.wait() == 0
    async with mail_server(ledger) as second:
        assert second._process.stdin is not None
        await second._process.stdin.aclose()
        assert await second._process.wait() == 0


class Script(anyio.abc.ByteStream):
    """A connection to a server that says one prepared line for each thing sent."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.sent: list[bytes] = []

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self.lines:
            raise anyio.EndOfStream
        return f"{self.lines.pop(0)}\r\n".encode()

    async def send(self, item: bytes) -> None:
        self.sent.append(item)

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    ("answer", "code", "permanent"),
    [("451 4.3.0 disk full", 451, False), ("554 5.7.1 spam", 554, True), ("421 bye", 421, False)],
)
async def test_smtp_understands_a_refusal_after_the_message(
    answer: str, code: int, permanent: bool
) -> None:
    """Replies for which smtpproto has no place keep their code."""
    accepted = ["220 hi", "250 hello", "250 ok", "250 ok", "354 go"]
    session = SmtpSession(Script(*accepted, answer))
    message = TEMPLATE.message(RECIPIENTS[0], "id")
    await session._greet()

    with pytest.raises(Refused) as caught:
        await session.send(message, sender="a@example.org", to="b@example.org")

    assert (caught.value.code, caught.value.permanent) == (code, permanent)


# The report


def order(number: int, to: str = "ada@example.org") -> Ordered:
    """Push number *number*, at second 100."""
    return Ordered(f"t{number}", to, 100.0)


def report(
    orders: list[Ordered], ledger: list[Delivery], rows: dict[str, Row], stale: int = 0
) -> Report:
    """Report on a demo whose second worker took over at second 110."""
    return make_report(orders, ledger, rows, taken_over_at=110.0, stale=stale, faults={})


def test_report_counts_what_went_well() -> None:
    """Pushed, delivered, retried and the percentiles; nothing is lost."""
    orders = [order(number) for number in range(1, 101)]
    ledger = [Delivery(one.task_id, 100.0 + n, Fault.NONE) for n, one in enumerate(orders, 1)]
    rows = {one.task_id: Row("done", 2 if one.task_id == "t5" else 1) for one in orders}

    result = report(orders, ledger, rows, stale=3)

    assert (result.pushed, result.delivered, result.retried, result.stale) == (100, 100, 1, 3)
    assert (result.p50, result.p95) == (50.0, 95.0)
    assert (result.twice, result.lost) == ({}, [])


@pytest.mark.parametrize(
    ("row", "delivered", "why"),
    [
        (None, True, "not in the store"),
        (Row("running", 1), True, "still running"),
        (Row("retry", 1), False, "still retry"),
        (Row("dead", 8, "450 busy"), True, "dead: 450 busy"),
        (Row("done", 1), False, "done, but not in the ledger"),
        (Row("cancelled", 1), False, "cancelled, but not in the ledger"),
    ],
)
def test_report_names_what_is_lost(row: Row | None, delivered: bool, why: str) -> None:
    """Either witness can show a loss of a deliverable recipient."""
    ledger = [Delivery("t1", 101.0, Fault.NONE)] if delivered else []

    result = report([order(1)], ledger, {} if row is None else {"t1": row})

    assert result.lost == [f"ada@example.org: {why}"]


def test_report_is_short_also_when_much_is_lost() -> None:
    """The count is whole; the list is not."""
    result = report([order(number) for number in range(12)], [], {})

    assert str(result).splitlines()[-12:] == [
        "lost                      12",
        *["  ada@example.org: not in the store"] * 10,
        "  and 2 more",
    ]


def test_report_does_not_call_an_undeliverable_recipient_lost_when_it_is_dead() -> None:
    """Its reason is counted instead; not to end at all would be a loss."""
    orders = [order(1, "x@nowhere.invalid"), order(2, "y@nowhere.invalid")]
    rows = {"t1": Row("dead", 1, "550 no such domain"), "t2": Row("ready", 0)}

    result = report(orders, [], rows)

    assert result.dead == {"550 no such domain": 1}
    assert result.lost == ["y@nowhere.invalid: still ready"]
    assert math.isnan(result.p50)


@pytest.mark.parametrize(
    ("fault", "again", "why"),
    [
        (Fault.SLOW_AFTER, 102.0, SLOW),
        (Fault.DROP_AFTER, 102.0, DROPPED),
        (Fault.NONE, 112.0, KILLED),
        (Fault.NONE, 102.0, UNSEEN),
    ],
)
def test_report_says_why_a_mail_came_twice(fault: Fault, again: float, why: str) -> None:
    """The first delivery's fault, or else the kill between the two, explains the second."""
    ledger = [Delivery("t1", 101.0, fault), Delivery("t1", again, Fault.NONE)]

    result = report([order(1)], ledger, {"t1": Row("done", 2)})

    assert result.delivered == 1
    assert result.twice == {why: 1}
    assert why in str(result)


def test_read_ledger_leaves_out_a_line_that_is_being_written() -> None:
    """The parent reads while the server writes."""
    whole = '{"message_id": "<t1@example.org>", "to": "a", "at": 1.5, "fault": "none"}\n'

    assert read_ledger(whole + whole[:20]) == [Delivery("t1", 1.5, Fault.NONE)]


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 2), (75, 3), (95, 4), (100, 4)])
def test_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    """Always a value that occurred."""
    assert percentile([3, 1, 4, 2], percent) == value


# The progress bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_draws_one_line_again_and_again_on_a_terminal() -> None:
    """Each update replaces the bar; a message stands above it."""
    out = Terminal()
    progress = Progress(4, out)

    progress.update(1)
    progress.say("killed")
    progress.update(4)
    progress.close()

    start, first, message, last = out.getvalue().split("\r\x1b[K")
    assert (start, message) == ("", "killed\n")
    assert first == f"[{'#' * 10}{'.' * 30}] 1/4 delivered"
    assert last == f"[{'#' * 40}] 4/4 delivered\n"


def test_progress_writes_a_line_per_quarter_elsewhere() -> None:
    """A log gets five lines, not thousands."""
    out = io.StringIO()
    progress = Progress(1000, out)

    for done in range(1001):
        progress.update(done)
    progress.say("killed")
    progress.close()

    assert out.getvalue().splitlines() == [
        "250/1000 delivered",
        "500/1000 delivered",
        "750/1000 delivered",
        "1000/1000 delivered",
        "killed",
    ]
