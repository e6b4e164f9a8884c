"""What a handler's parameters can be filled with; each in its own file."""

from layered.extractors.attempt import Attempt as Attempt
from layered.extractors.data import Data as Data
from layered.extractors.depends import Depends as Depends
from layered.extractors.metadata import Metadata as Metadata
from layered.extractors.task_id import TaskId as TaskId
from layered.extractors.tracing_context import TracingContext as TracingContext
