"""The backend suite: the contract of `layered.backend.Backend`, as rules that any store can run."""

from layered.testing.conformance.backend import (  # noqa: F401 - they register their rules
    claim,
    fence,
    lease,
    order,
    push,
    release,
    retention,
    settle,
    wait,
)
from layered.testing.conformance.backend.clock import Clock
from layered.testing.conformance.backend.suite import (
    Make,
    backend_rules as backend_rules,
    check_backend as check_backend,
)

__all__ = ["Clock", "Make"]
