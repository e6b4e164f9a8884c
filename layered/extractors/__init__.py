"""What a handler's parameters can be filled with; each in its own file."""

from layered.extractors.attempt import Attempt
from layered.extractors.data import Data
from layered.extractors.depends import Depends
from layered.extractors.metadata import Metadata
from layered.extractors.task_id import TaskId
from layered.extractors.tracing_context import TracingContext

__all__ = ["Attempt", "Data", "Depends", "Metadata", "TaskId", "TracingContext"]
