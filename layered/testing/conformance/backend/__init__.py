"""The backend suite: the contract of `layered.backend.Backend`, as rules that any store can run."""

from layered.testing.conformance.backend import (  # noqa: F401 - they register their rules
    cancel,
    claim,
    dedup,
    fence,
    lease,
    leave,
    listing,
    order,
    pausing,
    progress,
    push,
    race,
    reap,
    release,
    remembering,
    replace,
    requeue,
    requeue_keys,
    retention,
    seeing,
    settle,
    transaction,
    wait,
)
from layered.testing.conformance.backend.clock import Clock
from layered.testing.conformance.backend.store import Copies, Effects, Make
from layered.testing.conformance.backend.suite import (
    backend_rules as backend_rules,
    check_backend as check_backend,
)

__all__ = ["Clock", "Copies", "Effects", "Make"]
