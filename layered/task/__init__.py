"""The data: tasks, their states, their runs, and how arguments become bytes."""

from layered.task.codec import (
    JSON,
    Codec as Codec,
    JsonCodec as JsonCodec,
    Kind as Kind,
    Kinds,
    checked_name,
    form_name,
)
from layered.task.ids import checked_id, new_id
from layered.task.run import (
    NEVER,
    NO_METADATA,
    CancelReason as CancelReason,
    Dedup as Dedup,
    Draft,
    Fence,
    Host,
    Lease,
    OnConflict as OnConflict,
    Run,
    Settling,
)
from layered.task.status import MOVES, Status as Status
from layered.task.task import Task as Task, from_micros, to_micros

__all__ = [
    "JSON",
    "MOVES",
    "NEVER",
    "NO_METADATA",
    "Draft",
    "Fence",
    "Host",
    "Kinds",
    "Lease",
    "Run",
    "Settling",
    "checked_id",
    "checked_name",
    "form_name",
    "from_micros",
    "new_id",
    "to_micros",
]
