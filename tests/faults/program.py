"""The worker process of the fault tests: ``python -m tests.faults.program SETTING``."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TypeVar

import msgspec

from layered import Middleware, Router, Service, Storage, Worker, WorkerBuilder
from layered.worker import Event, StateChanged, TaskEnded, TaskReaped, TaskStale
from tests.faults.deeds import handle, handle_plain
from tests.faults.setting import Ledger, PlainUnit, Setting, Told, Unit

Req = TypeVar("Req")
Res = TypeVar("Res")


class OneByOne(Middleware[Req, Res]):
    """Has no room while anything is in flight, settles on their way included."""

    def __init__(self, inner: Service[Req, Res], busy: Callable[[], bool]) -> None:
        super().__init__(inner)
        self._busy = busy

    def capacity(self) -> int:
        return 0 if self._busy() else 1


def build(setting: Setting) -> Worker[Unit | PlainUnit, object]:
    """Build the worker that *setting* describes."""
    builder = (
        WorkerBuilder("fault")
        .backend(storage_of(setting))
        .data(Ledger(setting.folder))
        .on_event(partial(tell, setting.tell))
        .configure(**setting.numbers)
    )
    if setting.timeout:
        builder = builder.timeout(setting.timeout)
    if setting.deadline:
        builder = builder.deadline(setting.deadline)
    built: list[Worker[Unit | PlainUnit, object]] = []
    if setting.one_by_one:
        busy = partial(any_in_flight, built)
        builder = builder.layer(partial(OneByOne, busy=busy))
    built.append(builder.build(Router().route(Unit, handle).route(PlainUnit, handle_plain)))
    return built[0]


def any_in_flight(workers: list[Worker[Unit | PlainUnit, object]]) -> bool:
    """Answer whether a worker of *workers*, which runs, has anything in flight."""
    return any(worker.context.in_flight for worker in workers)


def storage_of(setting: Setting) -> Storage[Unit | PlainUnit]:
    """Make the storage; its class is named, so that mutants need no program of their own."""
    plain = "layered:PostgresStorage" if setting.dsn else "layered:SqliteStorage"
    module, _, name = (setting.storage or plain).partition(":")
    make = getattr(import_module(module), name)
    storage: Storage[Unit | PlainUnit]
    if setting.dsn:
        make = make.with_notify if setting.notify else make
        storage = make(setting.dsn, Unit | PlainUnit, schema=setting.schema)
    else:
        storage = make(setting.database, Unit | PlainUnit)
    return storage


def tell(wanted: tuple[str, ...], event: Event) -> None:
    """Write an event to standard output, at once."""
    what = type(event).__name__
    if what not in (*wanted, "StateChanged"):
        return
    match event:
        case StateChanged(_, state):
            told = Told(what, status=state.value)
        case TaskEnded() | TaskReaped():
            told = Told(what, event.task_id, event.status.label)
        case TaskStale():
            told = Told(what, event.task_id)
        case _:
            told = Told(what)
    os.write(1, msgspec.json.encode(told) + b"\n")


def leave_with_the_tests() -> None:
    """End when the process of the tests does, which holds the other end of standard input."""
    os.read(0, 1)
    os._exit(1)


def prepare() -> Setting:
    """Take over the setting and its limits."""
    logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(message)s")
    setting = msgspec.json.decode(sys.argv[1], type=Setting)
    threading.Thread(target=leave_with_the_tests, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if setting.memory:
        resource.setrlimit(resource.RLIMIT_AS, (setting.memory, setting.memory))
    if setting.file_size:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # python ignores it
        resource.setrlimit(resource.RLIMIT_FSIZE, (setting.file_size, setting.file_size))
    return setting


def main() -> None:
    """Work until told to stop by a signal."""
    setting = prepare()
    build(setting).run_sync(backend=setting.loop)


if __name__ == "__main__":
    main()
