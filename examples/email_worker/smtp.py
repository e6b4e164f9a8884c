"""
A small SMTP client for both loops: `smtpproto` speaks, anyio carries.

smtpproto brings a client of its own, which does not suit a worker: its errors
carry no reply code, its time limit ends in an `AttributeError`, and closing
waits for the server even after a cancelled attempt (smtpproto 2.0.0).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from typing import ParamSpec

import anyio
import anyio.abc
import attrs
from smtpproto.protocol import (
    ClientState,
    SMTPClientProtocol,
    SMTPProtocolViolation,
    SMTPResponse,
)

P = ParamSpec("P")
PERMANENT = 500
"""The first reply code that another try cannot change."""
QUIT_LIMIT = 1.0
"""Most seconds that leaving politely may take."""


@attrs.frozen
class Refused(Exception):
    """The server said no: for now (`code` 4xx) or for good (5xx)."""

    code: int
    reply: str

    @property
    def permanent(self) -> bool:
        """True if another try can only get the same answer."""
        return self.code >= PERMANENT

    def __str__(self) -> str:
        """Give the answer as the server wrote it."""
        return f"{self.code} {self.reply}"


class Disconnected(ConnectionError):
    """The server went away in the middle; what it has done by then is unknown."""

    def __init__(self) -> None:
        super().__init__("the mail server closed the connection")


@attrs.define
class SmtpSession:
    """One greeted connection, as `connect()` gives it."""

    _stream: anyio.abc.ByteStream
    _protocol: SMTPClientProtocol = attrs.field(factory=SMTPClientProtocol, init=False)

    async def send(self, message: EmailMessage, *, sender: str, to: str) -> str:
        """
        Send *message* and give the server's words of acceptance.

        Args:
            message: With all its headers; bytes are made as the server needs them.
            sender: The address that gets the bounces.
            to: The one recipient, the domain in its ASCII form.

        Raises:
            Refused: if the server said no, to the recipient or to the message.
            Disconnected: if the connection ended before an answer.

        Cancellation:
            The mail was accepted or not: as unknown as after `Disconnected`.
        """
        if not to.isascii() and "SMTPUTF8" not in self._protocol.extensions:
            raise Refused(553, "5.6.7 this server takes only ASCII addresses")
        await self._command(self._protocol.mail, sender)
        await self._command(self._protocol.recipient, to)
        await self._command(self._protocol.start_data)
        answer = await self._command(self._protocol.data, message)
        return f"{answer.code} {answer.message}"

    async def _greet(self) -> None:
        await self._answer()
        await self._command(self._protocol.send_greeting, "worker.example.org")

    async def _quit(self) -> None:
        # With an answer outstanding there is nobody to be polite to.
        idle = not self._protocol.needs_incoming_data
        if idle and self._protocol.state is not ClientState.finished:
            with anyio.move_on_after(QUIT_LIMIT), contextlib.suppress(Disconnected):
                await self._command(self._protocol.quit)

    async def _command(
        self, command: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs
    ) -> SMTPResponse:
        command(*args, **kwargs)
        return await self._answer()

    async def _answer(self) -> SMTPResponse:
        answer = None
        while answer is None:
            try:
                # Also within a reply: EHLO refused becomes HELO by itself.
                if outgoing := self._protocol.get_outgoing_data():
                    await self._stream.send(outgoing)
                received = await self._stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
                raise Disconnected from error
            answer = self._understood(received)
        if answer.is_error():
            raise Refused(answer.code, answer.message)
        return answer

    def _understood(self, received: bytes) -> SMTPResponse | None:
        try:
            return self._protocol.feed_bytes(received)
        except SMTPProtocolViolation as violation:
            # smtpproto knows some codes for each command, and only 250 after
            # the message; for a code it does not know the first digit decides
            # (RFC 5321, section 4.3.2).
            found = re.fullmatch(r"Unexpected response: ([45]\d\d) (.*)", str(violation), re.DOTALL)
            if found is None:
                raise
            raise Refused(int(found[1]), found[2]) from violation


@contextlib.asynccontextmanager
async def connect(host: str, port: int) -> AsyncIterator[SmtpSession]:
    """
    Connect, greet, and hang up at the end.

    The end is polite (QUIT) only if no answer is outstanding; otherwise, and
    when cancelled, the connection is closed without waiting.

    Raises:
        OSError: if nobody listens there.
        Refused: if the server wants no session now.
        Disconnected: if it hung up before its greeting.
    """
    stream = await anyio.connect_tcp(host, port)
    try:
        session = SmtpSession(stream)
        await session._greet()  # noqa: SLF001 (one unit with the class above)
        yield session
        await session._quit()  # noqa: SLF001
    finally:
        await anyio.aclose_forcefully(stream)
