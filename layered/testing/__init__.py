"""What tests of programs on layered need; imports no pytest."""

from layered.testing.clock import VirtualLoop, virtual_backend

__all__ = ["VirtualLoop", "virtual_backend"]
