"""What tests of programs on layered need; imports no pytest."""

from layered.testing.clock import VirtualLoop, virtual_backend
from layered.testing.conformance.backend import backend_rules, check_backend

__all__ = ["VirtualLoop", "backend_rules", "check_backend", "virtual_backend"]
