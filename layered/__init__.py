"""
layered: a middleware-stack framework for background tasks, on asyncio and trio.

An async function becomes a `Service`; `Layer` objects stack around it; a
`WorkerBuilder` attaches the stack to a storage. Storages are loaded when
they are first named, so that ``import layered`` loads no driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from layered.backend.about import WorkerInfo
from layered.backend.capability import Incapable
from layered.backend.contract import Backend
from layered.backend.control import Change, Filter, Page, Queue
from layered.backend.inspector import Inspector
from layered.backend.results import NotDone
from layered.backend.storage import Storage
from layered.backend.types import Limits, Pushed, Record, Summary
from layered.errors import (
    Abort,
    BackendBroken,
    BackendClosed,
    BackendError,
    BuildError,
    Conflict,
    DeadlineExceeded,
    DecodeFailed,
    Fatal,
    Full,
    LayeredError,
    LeaseLost,
    NewerVersion,
    Outcome,
    PushRefused,
    RetryAfter,
    Snooze,
    StrayCancellation,
    Transient,
    WrongState,
)
from layered.extractors.attempt import Attempt
from layered.extractors.data import Data
from layered.extractors.depends import Depends
from layered.extractors.metadata import Metadata
from layered.extractors.task_id import TaskId
from layered.extractors.tracing_context import TracingContext
from layered.handler.router import Router
from layered.handler.source import FromTask
from layered.layers.catch import CatchLayer
from layered.layers.concurrency import ConcurrencyLimitLayer, Permits
from layered.layers.retry import RetryLayer
from layered.layers.timeout import Elapsed, TimeoutLayer
from layered.layers.tracing import TracingLayer
from layered.service.builder import ServiceBuilder
from layered.service.combinators import map_error, map_request, map_response, service_fn
from layered.service.contract import Middleware, Service, Transform
from layered.service.layer import Identity, Layer, Stack, layer_fn
from layered.task.codec import Codec, JsonCodec, Kind
from layered.task.run import CancelReason, Dedup, OnConflict
from layered.task.status import Status
from layered.task.task import Task
from layered.worker.builder import WorkerBuilder, check
from layered.worker.context import WorkerContext
from layered.worker.worker import Worker

if TYPE_CHECKING:
    from layered.backends.memory import MemoryStorage
    from layered.backends.postgres import PostgresStorage
    from layered.backends.sqlite import SqliteStorage

_STORAGES = {
    "MemoryStorage": "layered.backends.memory",
    "PostgresStorage": "layered.backends.postgres",
    "SqliteStorage": "layered.backends.sqlite",
}
_DRIVERS = {"psycopg"}

__all__ = [
    "Abort",
    "Attempt",
    "Backend",
    "BackendBroken",
    "BackendClosed",
    "BackendError",
    "BuildError",
    "CancelReason",
    "CatchLayer",
    "Change",
    "Codec",
    "ConcurrencyLimitLayer",
    "Conflict",
    "Data",
    "DeadlineExceeded",
    "DecodeFailed",
    "Dedup",
    "Depends",
    "Elapsed",
    "Fatal",
    "Filter",
    "FromTask",
    "Full",
    "Identity",
    "Incapable",
    "Inspector",
    "JsonCodec",
    "Kind",
    "Layer",
    "LayeredError",
    "LeaseLost",
    "Limits",
    "MemoryStorage",
    "Metadata",
    "Middleware",
    "NewerVersion",
    "NotDone",
    "OnConflict",
    "Outcome",
    "Page",
    "Permits",
    "PostgresStorage",
    "PushRefused",
    "Pushed",
    "Queue",
    "Record",
    "RetryAfter",
    "RetryLayer",
    "Router",
    "Service",
    "ServiceBuilder",
    "Snooze",
    "SqliteStorage",
    "Stack",
    "Status",
    "Storage",
    "StrayCancellation",
    "Summary",
    "Task",
    "TaskId",
    "TimeoutLayer",
    "TracingContext",
    "TracingLayer",
    "Transform",
    "Transient",
    "Worker",
    "WorkerBuilder",
    "WorkerContext",
    "WorkerInfo",
    "WrongState",
    "check",
    "layer_fn",
    "map_error",
    "map_request",
    "map_response",
    "service_fn",
]


def __getattr__(name: str) -> object:
    """Load a storage when it is first named."""
    if name in _STORAGES:
        try:
            storage: object = getattr(import_module(_STORAGES[name]), name)
        except ImportError as error:
            extra = _STORAGES[name].rpartition(".")[2]
            if error.name in _DRIVERS:
                msg = f"{name} needs {error.name}; pip install 'layered-tasks[{extra}]'"
                raise ImportError(msg, name=error.name) from error
            raise
        return storage
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """List storages too, before they are loaded."""
    return sorted({*globals(), *__all__})
