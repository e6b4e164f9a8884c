"""The data: tasks, their states, their runs, and how arguments become bytes."""

from layered.task.codec import JSON, Codec, JsonCodec, Kind, Kinds, checked_name, form_name
from layered.task.ids import checked_id, new_id
from layered.task.run import (
    NEVER,
    NO_METADATA,
    CancelReason,
    Draft,
    Fence,
    Host,
    Lease,
    Run,
    Settling,
)
from layered.task.status import MOVES, Status
from layered.task.task import Task, from_micros, to_micros

__all__ = [
    "JSON",
    "MOVES",
    "NEVER",
    "NO_METADATA",
    "CancelReason",
    "Codec",
    "Draft",
    "Fence",
    "Host",
    "JsonCodec",
    "Kind",
    "Kinds",
    "Lease",
    "Run",
    "Settling",
    "Status",
    "Task",
    "checked_id",
    "checked_name",
    "form_name",
    "from_micros",
    "new_id",
    "to_micros",
]
