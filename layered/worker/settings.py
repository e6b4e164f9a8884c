"""A worker's numbers, with their defaults."""

from __future__ import annotations

import attrs
from attrs.validators import ge, gt


@attrs.frozen(kw_only=True)
class Settings:
    """
    A worker's numbers. Times are in seconds.

    Args:
        lease: How long a claim stands without renewal; renewed each third
            of it. A crashed worker's tasks run elsewhere after it.
        batch: Most tasks of one claim; 1 or more.
        concurrency: Most handlers at once where no layer or handler has a
            limit of its own; 1 or more.
        grace: How long a drain lets running handlers go on.
        cancel_grace: How long a drain then waits for cancelled handlers.
        teardown_timeout: How long the teardown of one dependency may take.
    """

    lease: float = attrs.field(default=30.0, validator=gt(0))
    batch: int = attrs.field(default=100, validator=ge(1))
    concurrency: int = attrs.field(default=100, validator=ge(1))
    grace: float = attrs.field(default=25.0, validator=ge(0))
    cancel_grace: float = attrs.field(default=3.0, validator=ge(0))
    teardown_timeout: float = attrs.field(default=5.0, validator=gt(0))
