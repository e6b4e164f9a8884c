"""The stack: services, layers, and how they are put together. Knows nothing of tasks."""

from layered.service.builder import ServiceBuilder as ServiceBuilder
from layered.service.combinators import (
    map_error as map_error,
    map_request as map_request,
    map_response as map_response,
    service_fn as service_fn,
)
from layered.service.contract import (
    HasCall,
    Middleware as Middleware,
    Service as Service,
    Transform as Transform,
)
from layered.service.layer import (
    Identity as Identity,
    Layer as Layer,
    LayerLike,
    Stack as Stack,
    apply_layer,
    layer_fn as layer_fn,
)

__all__ = [
    "HasCall",
    "LayerLike",
    "apply_layer",
]
