"""`Attempt`: the number of this run."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from layered.handler import Field

Attempt: TypeAlias = Annotated[int, Field("run.attempt", "task.attempt")]
"""An `int`: 1 on the first run. As it was when the run began, whatever happens later."""
