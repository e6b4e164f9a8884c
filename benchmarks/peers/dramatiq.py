"""dramatiq: threads; its broker for tests keeps messages in memory."""

from __future__ import annotations

from typing import Any

import dramatiq  # type: ignore[import-not-found] # installed for the run only
from dramatiq.brokers.stub import (  # type: ignore[import-not-found] # the same
    StubBroker,
)

from benchmarks.peers.contest import Figures, Stopwatch, compete, mails


class Nothing(dramatiq.Middleware):  # type: ignore[misc] # as untyped as the library
    """Does nothing around the handler."""

    def before_process_message(self, broker: Any, message: Any) -> None:  # noqa: ANN401 - untyped
        """Let the message be."""

    def after_process_message(self, *others: Any, **named: Any) -> None:  # noqa: ANN401 - untyped
        """Let the result be."""


def memory(tasks: int, threads: int, middlewares: int = 0) -> Figures:
    """Push and process in memory, with its own middlewares and so many more."""
    broker = StubBroker()
    for number in range(middlewares):  # each a class of its own, or it warns
        broker.add_middleware(type(f"Nothing{number}", (Nothing,), {})())

    def send(id: int, to: str, subject: str) -> None:  # noqa: A002, ARG001 - as elsewhere
        watch.handled()

    actor = dramatiq.actor(send, broker=broker)
    watch = Stopwatch(tasks)
    for mail in mails(tasks):
        actor.send(**mail)
    watch.pushed()
    worker = dramatiq.Worker(broker, worker_threads=threads)
    worker.start()
    figures = watch.figures()
    worker.stop()
    return figures


if __name__ == "__main__":
    compete({"memory": memory})
