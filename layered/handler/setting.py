"""What a handler is compiled with: what the worker provides, what its branches share."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from layered.handler.lifetime import Lifetime
from layered.handler.thread import Threads


@attrs.frozen
class Setting:
    """
    What the worker provides when a handler is compiled.

    Args:
        data: Values by their type, from `WorkerBuilder.data`.
        threads: Most threads of plain functions at once: the worker's concurrency.
        teardown_timeout: Most seconds that each async generator dependency
            may take to clean up.
    """

    data: Mapping[type, object]
    threads: int
    teardown_timeout: float = 5.0


@attrs.frozen
class Site:
    """
    What the branches of one handler share while they are compiled.

    Args:
        setting: What the worker provides.
        lifetime: Takes the worker-scoped dependencies.
        problems: Where problems are appended.
        threads: What plain functions run in.
    """

    setting: Setting
    lifetime: Lifetime
    problems: list[str]
    threads: Threads
