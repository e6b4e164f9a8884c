"""The plan of a worker: everything that was decided when it was built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from layered.backend import Storage
from layered.handler import Handler
from layered.service import LayerLike, Service
from layered.task import Task
from layered.worker.events import Listener
from layered.worker.settings import Settings


@attrs.frozen(eq=False)
class Plan:
    """
    What a worker does, and how; fixed at build.

    Args:
        name: The worker's name; workers may share one.
        backend: Where tasks come from.
        service: The whole stack.
        handler: The compiled handler inside it.
        layers: The stack's layers, outermost first.
        settings: Numbers.
        deadline: Seconds for a whole task; `None` for no limit.
        concurrency: Most handlers at once.
        listeners: Are told of events.
    """

    name: str
    backend: Storage[Any]
    service: Service[Task[Any], Any]
    handler: Handler
    layers: Sequence[LayerLike]
    settings: Settings
    deadline: float | None
    concurrency: int
    listeners: Sequence[Listener]
