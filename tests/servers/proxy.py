"""
A TCP proxy in front of a PostgreSQL server, which breaks connections on command.

It runs in a thread with an event loop of its own, so that tests on any loop, and tests without
one, can use it. Its commands come into force before they return.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import attrs
from anyio.from_thread import BlockingPortal, start_blocking_portal
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.servers.postgres import free_port

MOST = 1 << 16
"""Bytes forwarded at once."""


@attrs.define(eq=False)
class Link:
    """
    One client's connection, and the one to the server that belongs to it.

    Args:
        application: The ``application_name`` that the client gave.
        client: Leads to the client.
        server: Leads to the server.
        left: Bytes until it is cut; `None` for no end.
        half_open: Whether it forwards nothing, neither bytes nor ends.
    """

    application: str
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    left: int | None = None
    half_open: bool = False

    def cut(self) -> None:
        """Break both connections, without sending what is on its way."""
        self.half_open = False
        self.client.transport.abort()
        self.server.transport.abort()


Which = Callable[[Link], bool]


def every(link: Link) -> bool:
    """Choose all links."""
    return True


def named(part: str) -> Which:
    """Choose the links whose application name has *part*."""
    return lambda link: part in link.application


@attrs.define
class Answers:
    """Finds in the bytes of a server where it says that a transaction is over."""

    _bytes: bytearray = attrs.field(factory=bytearray)
    _greeted: bool = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; answer whether a transaction ended in them, the log-in apart."""
        found = False
        self._bytes += data
        while len(self._bytes) >= 5:
            end = 1 + int.from_bytes(self._bytes[1:5])
            if len(self._bytes) < end:
                break
            if self._bytes[:1] == b"Z":  # ready for the next query
                found |= self._greeted and self._bytes[5:6] == b"I"  # in no transaction
                self._greeted = True
            del self._bytes[:end]
        return found


class Proxy:
    """
    The proxy of one server; made by `proxied`.

    Args:
        dsn: Of the server.
        portal: To the loop of the proxy.

    `dsn` leads through it. `cuts` counts the links that it has cut, `lost` those of them whose
    last answer was lost.
    """

    def __init__(self, dsn: str, portal: BlockingPortal) -> None:
        server = conninfo_to_dict(dsn)
        self._host, self._port = str(server["host"]), int(str(server["port"]))
        port = free_port()
        # Encrypted, the ends of transactions would not be seen.
        self.dsn = make_conninfo(
            dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )
        self.cuts = 0
        self.lost = 0
        self._listen = partial(asyncio.start_server, self._connect, "127.0.0.1", port)
        self._portal = portal
        self._listener: asyncio.Server | None = None
        self._links: set[Link] = set()
        self._delay = (0.0, 0.0)
        self._answers_to_lose = 0
        self._losing: Which = every
        self._born_half_open = False

    def links(self, which: Which = every) -> int:
        """Count the links that there are."""
        return self._portal.call(lambda: sum(map(which, self._links)))

    def cut(self, which: Which = every) -> None:
        """Cut links, now."""

        def cut() -> None:
            for link in self._chosen(which):
                self._cut(link)

        self._portal.call(cut)

    def cut_after(self, count: int, which: Which = every) -> None:
        """Cut each of these links when it has forwarded *count* more bytes, of both directions."""

        def limit() -> None:
            for link in self._chosen(which):
                link.left = count

        self._portal.call(limit)

    def lose_answers(self, count: int = 1, which: Which = every) -> None:
        """
        Cut links where the outcome of a commit becomes unknown.

        The statement was forwarded, and the server has committed it; its answer is lost, and
        the link with it. So for the next *count* transactions of any of these links.
        """
        self._portal.call(self._set_losing, count, which)

    def delay(self, seconds: float, jitter: float = 0.0) -> None:
        """Hold each answer up, by *seconds* and up to *jitter* seconds more."""
        self._portal.call(setattr, self, "_delay", (seconds, jitter))

    def half_open(self, which: Which = every, *, new: bool = False) -> None:
        """
        Leave links open and forward nothing any more, as when a firewall forgets them.

        They stay so; what connects later is well, unless *new*, which lasts until `heal`.
        """

        def leave() -> None:
            self._born_half_open = new
            for link in self._chosen(which):
                link.half_open = True

        self._portal.call(leave)

    def refuse(self) -> None:
        """Refuse new connections, as a host does on which no server runs."""
        self._portal.call(self._refuse)

    def heal(self) -> None:
        """End `delay`, `lose_answers`, `half_open` for new links, and `refuse`."""
        self._portal.call(self._heal)

    async def _heal(self) -> None:
        self._delay = (0.0, 0.0)
        self._answers_to_lose = 0
        self._born_half_open = False
        if self._listener is None:
            self._listener = await self._listen()

    def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _close(self) -> None:
        self._refuse()
        for link in self._chosen(every):
            link.cut()

    def _chosen(self, which: Which) -> list[Link]:
        return [link for link in self._links if which(link)]

    def _set_losing(self, count: int, which: Which) -> None:
        self._answers_to_lose, self._losing = count, which

    def _cut(self, link: Link) -> None:
        if link in self._links:
            self._links.remove(link)
            self.cuts += 1
            link.cut()

    async def _connect(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            size = await reader.readexactly(4)
            startup = size + await reader.readexactly(int.from_bytes(size) - 4)
            answers, server = await asyncio.open_connection(self._host, self._port)
        except (OSError, asyncio.IncompleteReadError):
            client.transport.abort()
            return
        link = Link(application(startup), client, server, half_open=self._born_half_open)
        self._links.add(link)
        if not link.half_open:
            server.write(startup)
        await asyncio.gather(
            self._forward(link, reader, server), self._forward(link, answers, client, Answers())
        )
        self._links.discard(link)

    async def _forward(
        self,
        link: Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: Answers | None = None,
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(MOST):
                if answers is not None:
                    await self._hold_up()
                    if answers.feed(data) and self._loses(link):
                        self._cut(link)
                        break
                if link.half_open:
                    continue
                if link.left is not None:
                    data, link.left = data[: link.left], max(0, link.left - len(data))
                writer.write(data)
                await writer.drain()
                if link.left == 0:
                    self._cut(link)
        if not link.half_open:
            writer.close()

    async def _hold_up(self) -> None:
        seconds, jitter = self._delay
        if seconds or jitter:
            await asyncio.sleep(seconds + random.uniform(0.0, jitter))  # noqa: S311 - no secret

    def _loses(self, link: Link) -> bool:
        if self._answers_to_lose and self._losing(link):
            self._answers_to_lose -= 1
            self.lost += 1
            return True
        return False


def application(startup: bytes) -> str:
    """Read the application's name from a client's first message."""
    names, values = (startup[8:].split(b"\0")[first::2] for first in (0, 1))
    return dict(zip(names, values, strict=False)).get(b"application_name", b"").decode()


@contextmanager
def proxied(dsn: str) -> Iterator[Proxy]:
    """Put a proxy in front of the server of *dsn*; at the end all its links are cut."""
    with start_blocking_portal("asyncio") as portal:
        proxy = Proxy(dsn, portal)
        proxy.heal()
        try:
            yield proxy
        finally:
            portal.call(proxy._close)
