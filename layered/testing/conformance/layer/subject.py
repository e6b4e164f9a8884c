"""What the layer suite checks: a layer, with requests and an error for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from layered.service import Service
from layered.service.layer import LayerLike, apply_layer, flattened
from layered.task import Task
from layered.testing.conformance.sample import pushed_task
from layered.testing.task import make_task


class Failure(Exception):
    """An error of the inner service that no layer knows."""


def failure() -> Exception:
    """Make an error that no layer knows."""
    return Failure("of the inner service")


@attrs.frozen
class LayerSubject:
    """
    A layer to be checked, and what to check it with.

    Args:
        layer: What `.layer()` takes: a layer, a `Middleware` subclass, any
            callable from service to service.
        make: In place of *layer*, for one that was given a state to share:
            makes it anew for each service.
        request: Makes a request; default an `object`, a claimed and a
            pushed task, as far as the layer's ``request_type`` takes them.
        error: Makes an error that the layer lets pass as it is.

    Raises:
        TypeError: if not one of *layer* and *make* is given, or *request* is
            needed and not given.
    """

    layer: LayerLike | None = None
    make: Callable[[], LayerLike] | None = attrs.field(default=None, kw_only=True)
    request: Callable[[], object] | None = attrs.field(default=None, kw_only=True)
    error: Callable[[], Exception] = attrs.field(default=failure, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Find out now what is missing."""
        _ = self.requests

    @property
    def requests(self) -> Sequence[Callable[[], object]]:
        """What makes requests of each kind that the layer takes."""
        if self.request is not None:
            return [self.request]
        declared = [getattr(one, "request_type", object) for one in flattened(self.fresh())]
        wanted = [one for one in declared if isinstance(one, type)]
        kinds: Sequence[Callable[[], object]] = [object, _claimed, _pushed]
        found = [make for make in kinds if all(isinstance(make(), one) for one in wanted)]
        if not found:
            needs = " and ".join(one.__name__ for one in wanted)
            msg = f"checking a layer that needs {needs}: pass what makes one, request=..."
            raise TypeError(msg)
        return found

    @property
    def absorbs(self) -> bool:
        """Whether the layer declares that it hides the inner service's back-pressure."""
        return any(getattr(one, "absorbs", False) for one in flattened(self.fresh()))

    def fresh(self) -> LayerLike:
        """Answer the layer, made anew where it can be."""
        if self.make is not None and self.layer is None:
            return self.make()
        if self.layer is not None and self.make is None:
            return self.layer
        msg = (
            f"checking a layer: got layer={self.layer!r}, make={self.make!r}; "
            "give one: the layer, or a function that makes it"
        )
        raise TypeError(msg)

    def wrap(self, inner: Service[object, object]) -> Service[object, object]:
        """
        Put the layer around *inner*.

        Raises:
            BuildError: if it is no layer, or answers something that is no service.
        """
        return apply_layer(self.fresh(), inner)


def _claimed() -> Task[str]:
    return make_task("arguments")


def _pushed() -> Task[str]:
    return pushed_task("arguments")
