"""The worker: built from a backend, layers and a handler; claims, runs, settles, drains."""

from layered.worker.builder import Builder, WorkerBuilder as WorkerBuilder, check as check
from layered.worker.context import WorkerContext as WorkerContext
from layered.worker.events import (
    BackendTroubled,
    Event,
    LateError,
    Listener,
    NamesUnknown,
    ResultDropped,
    StateChanged,
    TaskEnded,
    TaskReaped,
    TaskStale,
)
from layered.worker.settings import Settings
from layered.worker.states import State
from layered.worker.worker import Worker as Worker

__all__ = [
    "BackendTroubled",
    "Builder",
    "Event",
    "LateError",
    "Listener",
    "NamesUnknown",
    "ResultDropped",
    "Settings",
    "State",
    "StateChanged",
    "TaskEnded",
    "TaskReaped",
    "TaskStale",
]
