"""
The mail server: a process of its own, with seeded faults and its own ledger.

`python -m examples.email_worker.server LEDGER` listens on a free loopback
port, prints `ready PORT`, and serves until SIGTERM or the end of its standard
input, so it never outlives the process that started it. Its last line of
output is a JSON object: how often it made each fault.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import os
import pathlib
import signal
import sys
import time
from email.parser import BytesHeaderParser
from typing import TextIO, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from examples.email_worker.faults import SLOW_ANSWER, Fault, fault, refusal

HOST = "127.0.0.1"


class PostOffice:
    """
    Take mail for every good recipient, once the seeded faults let it.

    The ledger gets one JSON line per accepted mail, flushed before the client
    can hear of it: what the client believes is never ahead of the ledger.
    """

    def __init__(self, ledger: TextIO) -> None:
        self.faults: collections.Counter[Fault] = collections.Counter()
        self._ledger = ledger
        self._tries: collections.Counter[str] = collections.Counter()

    async def handle_RCPT(  # noqa: N802 (aiosmtpd finds it by this name)
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Refuse bad recipients for good, and some good ones for now."""
        reason = refusal(address)
        if reason is not None:
            return f"550 5.1.1 {reason}"
        self._tries[address] += 1
        if self._fault_now(address) is Fault.TEMPORARY:
            self.faults[Fault.TEMPORARY] += 1
            return "450 4.2.1 mailbox busy, try again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Accept the mail, into the ledger; late or without an answer for some."""
        [address] = envelope.rcpt_tos
        kind = self._fault_now(address)
        self.faults[kind] += 1
        if kind is Fault.SLOW_BEFORE:
            # A client that gives up meanwhile ends this coroutine, here.
            await asyncio.sleep(SLOW_ANSWER)
        elif kind is Fault.DROP_BEFORE:
            await _drop(server)
        self._accept(address, envelope, kind)
        if kind is Fault.SLOW_AFTER:
            await asyncio.sleep(SLOW_ANSWER)
        elif kind is Fault.DROP_AFTER:
            await _drop(server)
        return "250 2.0.0 accepted"

    def _fault_now(self, address: str) -> Fault:
        return fault(address, self._tries[address])

    def _accept(self, address: str, envelope: Envelope, kind: Fault) -> None:
        headers = BytesHeaderParser().parsebytes(envelope.original_content or b"")
        line = {
            "message_id": headers["Message-ID"],
            "to": address,
            "at": time.time(),
            "fault": kind,
        }
        self._ledger.write(json.dumps(line) + "\n")
        self._ledger.flush()


async def _drop(server: SMTP) -> None:
    cast("asyncio.Transport", server.transport).abort()
    await asyncio.Future()  # cancelled by aiosmtpd when the connection is gone


async def _listen_for_stop() -> asyncio.StreamReader:
    """Give a stream that ends at SIGTERM, at SIGINT, or with standard input."""
    loop = asyncio.get_running_loop()
    stop = asyncio.StreamReader()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.feed_eof)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stop), sys.stdin)
    return stop


async def serve(ledger: TextIO) -> None:
    """Serve on a free loopback port until asked to stop."""
    loop = asyncio.get_running_loop()
    stop = await _listen_for_stop()
    office = PostOffice(ledger)
    # Without `hostname` each connection would ask DNS for this machine's name.
    server = await loop.create_server(
        lambda: SMTP(office, hostname="mail.example.org", loop=loop), HOST, 0
    )
    port = server.sockets[0].getsockname()[1]
    _tell(f"ready {port}")
    await stop.read()
    server.close()
    _tell(json.dumps(office.faults))


def _tell(line: str) -> None:
    # Not `print`: it would complain at exit if nobody listens any more.
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    with pathlib.Path(sys.argv[1]).open("a", encoding="utf-8") as file:
        asyncio.run(serve(file))
