"""The stack: services, layers, and how they are put together. Knows nothing of tasks."""

from layered.service.builder import ServiceBuilder
from layered.service.combinators import map_error, map_request, map_response, service_fn
from layered.service.contract import HasCall, Middleware, Service, Transform
from layered.service.layer import Identity, Layer, LayerLike, Stack, apply_layer, layer_fn

__all__ = [
    "HasCall",
    "Identity",
    "Layer",
    "LayerLike",
    "Middleware",
    "Service",
    "ServiceBuilder",
    "Stack",
    "Transform",
    "apply_layer",
    "layer_fn",
    "map_error",
    "map_request",
    "map_response",
    "service_fn",
]
