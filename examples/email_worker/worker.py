"""
The worker: all that this example needs of `layered`.

`python -m examples.email_worker.worker FOLDER PORT` sends what `tasks.db` in
FOLDER holds, through the mail server on PORT, until nothing is left.
"""

from __future__ import annotations

import logging
import os
import pathlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import anyio
import attrs
from tenacity import stop_after_attempt, wait_random_exponential

from examples.email_worker.message import Email, Template, wire_address
from examples.email_worker.smtp import Refused, SmtpSession, connect
from layered import (
    Abort,
    ConcurrencyLimitLayer,
    Data,
    Depends,
    RetryLayer,
    SqliteStorage,
    TaskId,
    TimeoutLayer,
    TracingLayer,
    Worker,
    WorkerBuilder,
)
from layered.worker import TaskStale

STALE = "stale.txt"
"""Where workers note each write that the store refused, because they had lost the lease."""


@attrs.frozen
class MailServer:
    """Where to deliver."""

    port: int
    host: str = "127.0.0.1"


async def smtp_session(server: Data[MailServer]) -> AsyncIterator[SmtpSession]:
    """Give each attempt a connection of its own, closed when the attempt ends."""
    async with connect(server.host, server.port) as session:
        yield session


async def send_email(
    email: Email,
    task_id: TaskId,
    template: Data[Template],
    session: Annotated[SmtpSession, Depends(smtp_session)],
) -> str:
    """
    Send one mail; the result is what the server said.

    A recipient that the server will never take is not tried again. Every
    other error goes to the retry layer as it is.
    """
    message = template.message(email, str(task_id))
    try:
        return await session.send(message, sender=template.sender, to=wire_address(email.to))
    except Refused as refused:
        if refused.permanent:
            raise Abort(str(refused)) from refused
        raise


def build_worker(
    storage: SqliteStorage[Email],
    server: MailServer,
    listener: Callable[[object], None] = lambda _: None,
) -> Worker[Email, str]:
    """Stack the layers around `send_email`, the outermost first; tell *listener* of events."""
    return (
        WorkerBuilder("email-worker")
        .backend(storage)
        .data(server)
        .data(Template.read())
        .configure(lease=2)
        .layer(TracingLayer())
        .layer(ConcurrencyLimitLayer(20))
        .layer(
            RetryLayer(
                stop=stop_after_attempt(8),
                wait=wait_random_exponential(multiplier=0.05, max=1),
            )
        )
        .layer(TimeoutLayer(0.5))
        .on_event(listener)
        .build(send_email)
    )


async def run(folder: pathlib.Path, server: MailServer) -> None:
    """Work until the storage has nothing left, tasks of the future included."""
    with (folder / STALE).open("a", buffering=1) as stale:

        def note(event: object) -> None:
            if isinstance(event, TaskStale):
                stale.write(f"{event.task_id}\n")

        async with SqliteStorage(folder / "tasks.db", Email) as storage:
            worker = build_worker(storage, server, note)
            await worker.run(until_empty=True)


if __name__ == "__main__":
    loop = os.environ.get("LOOP", "asyncio")
    logging.basicConfig(filename=pathlib.Path(sys.argv[1]) / "worker.log")  # the terminal is taken
    anyio.run(run, pathlib.Path(sys.argv[1]), MailServer(int(sys.argv[2])), backend=loop)
