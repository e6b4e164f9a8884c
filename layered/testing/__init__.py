"""What tests of programs on layered need; imports no pytest."""

from layered.testing.clock import VirtualLoop, virtual_backend
from layered.testing.conformance.backend import backend_rules, check_backend
from layered.testing.conformance.codec import CodecSubject, check_codec, codec_rules
from layered.testing.conformance.extractor import (
    ExtractorSubject,
    Sample,
    check_extractor,
    extractor_rules,
)
from layered.testing.conformance.layer import LayerSubject, check_layer, layer_rules
from layered.testing.mock import MockCall, MockClosed, MockHandle, MockService

__all__ = [
    "CodecSubject",
    "ExtractorSubject",
    "LayerSubject",
    "MockCall",
    "MockClosed",
    "MockHandle",
    "MockService",
    "Sample",
    "VirtualLoop",
    "backend_rules",
    "check_backend",
    "check_codec",
    "check_extractor",
    "check_layer",
    "codec_rules",
    "extractor_rules",
    "layer_rules",
    "virtual_backend",
]
