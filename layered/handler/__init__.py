"""The handler contract: extractors, and how a function becomes the innermost service."""

from layered.handler.compile import Handler, compile_handler
from layered.handler.outcome import IntoOutcome
from layered.handler.router import Router as Router
from layered.handler.setting import Setting
from layered.handler.source import (
    Attribute,
    Computed,
    Constant,
    Extractor,
    Field,
    FromTask as FromTask,
    Injected,
    Provided,
    Scope,
    Source,
    Unfillable,
    Wanted,
)
from layered.handler.teardown import TeardownElapsed

__all__ = [
    "Attribute",
    "Computed",
    "Constant",
    "Extractor",
    "Field",
    "Handler",
    "Injected",
    "IntoOutcome",
    "Provided",
    "Scope",
    "Setting",
    "Source",
    "TeardownElapsed",
    "Unfillable",
    "Wanted",
    "compile_handler",
]
