"""What tests of programs on layered need; imports no pytest."""

from layered.testing.call import CallOptions, call
from layered.testing.clock import FakeClock, VirtualLoop, virtual_backend
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
from layered.testing.pushed import assert_pushed, pushed
from layered.testing.task import make_task
from layered.testing.worker import TestWorker

__all__ = [
    "CallOptions",
    "CodecSubject",
    "ExtractorSubject",
    "FakeClock",
    "LayerSubject",
    "MockCall",
    "MockClosed",
    "MockHandle",
    "MockService",
    "Sample",
    "TestWorker",
    "VirtualLoop",
    "assert_pushed",
    "backend_rules",
    "call",
    "check_backend",
    "check_codec",
    "check_extractor",
    "check_layer",
    "codec_rules",
    "extractor_rules",
    "layer_rules",
    "make_task",
    "pushed",
    "virtual_backend",
]
