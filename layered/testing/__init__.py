"""What tests of programs on layered need; imports no pytest."""

from layered.testing.clock import VirtualLoop, virtual_backend
from layered.testing.conformance.backend import backend_rules, check_backend
from layered.testing.conformance.layer import LayerSubject, check_layer, layer_rules

__all__ = [
    "LayerSubject",
    "VirtualLoop",
    "backend_rules",
    "check_backend",
    "check_layer",
    "layer_rules",
    "virtual_backend",
]
