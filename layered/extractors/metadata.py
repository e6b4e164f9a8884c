"""`Metadata`: what travels with the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

from layered.handler import Field

Metadata: TypeAlias = Annotated[Mapping[str, str], Field("run.record.metadata", "task.metadata")]
"""A `Mapping[str, str]`: the small text values given at push. Not to be changed."""
