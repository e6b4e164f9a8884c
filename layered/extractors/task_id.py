"""`TaskId`: the task's id."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from layered.handler import Field

TaskId: TypeAlias = Annotated[str, Field("run.record.id", "task.id")]
"""A `str`: a UUID in text form, the same on every run of the task."""
