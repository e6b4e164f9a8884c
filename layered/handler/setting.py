"""What a handler is compiled with: what the worker provides, what its branches share."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import attrs

from layered.handler.lifetime import Lifetime


@attrs.frozen
class Setting:
    """
    What the worker provides when a handler is compiled.

    Args:
        data: Values by their type, from `WorkerBuilder.data`.
        limiter: Bounds the threads of plain functions; its size is the
            worker's concurrency.
        teardown_timeout: Most seconds that each async generator dependency
            may take to clean up.
    """

    data: Mapping[type, object]
    limiter: anyio.CapacityLimiter
    teardown_timeout: float = 5.0


@attrs.frozen
class Site:
    """
    What the branches of one handler share while they are compiled.

    Args:
        setting: What the worker provides.
        lifetime: Takes the worker-scoped dependencies.
        problems: Where problems are appended.
    """

    setting: Setting
    lifetime: Lifetime
    problems: list[str]
