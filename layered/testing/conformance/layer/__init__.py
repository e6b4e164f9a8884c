"""
The layer suite: the rules that every layer keeps, for layers of your own.

In a plain test function, one line::

    def test_timing_is_a_layer() -> None:
        check_layer(Timing)

Each rule as a test of its own, with pytest::

    @pytest.mark.parametrize("rule", layer_rules, ids=lambda rule: rule.name)
    async def test_timing_keeps_the_rules_of_layers(rule: Rule[LayerSubject]) -> None:
        await rule.check(LayerSubject(Timing))

The rules take no time: only what a layer waits for by itself does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from layered.service.layer import LayerLike
from layered.testing.conformance.checking import check_in_order
from layered.testing.conformance.layer import (  # noqa: F401 - they fill the suite
    answering,
    cancelling,
    making,
    waiting,
)
from layered.testing.conformance.layer.subject import LayerSubject as LayerSubject, failure
from layered.testing.conformance.layer.suite import layer_rules as layer_rules


def check_layer(
    layer: LayerLike | None = None,
    /,
    *,
    make: Callable[[], LayerLike] | None = None,
    request: Callable[[], object] | None = None,
    error: Callable[[], Exception] = failure,
    without: Collection[str] = (),
    loops: Sequence[str] = (),
) -> None:
    """
    Check a layer against every rule, on virtual time, in new event loops.

    A layer that acts on some requests or errors is checked with others:
    ``check_layer(CatchLayer(), error=lambda: Abort("no"))``.

    Args:
        layer: What `.layer()` takes: a layer, a `Middleware` subclass, any
            callable from service to service.
        make: In place of *layer*, for one that was given a state to share:
            makes it anew for each service.
        request: Makes a request; default an `object`, a claimed and a
            pushed task, as far as the layer's ``request_type`` takes them.
        error: Makes an error that the layer lets pass as it is.
        without: Names of rules that the layer breaks on purpose.
        loops: ``"asyncio"`` and ``"trio"``; empty for all that are installed.

    Raises:
        RuleBroken: if it breaks a rule; the message lists all that it breaks.
        TypeError: if not one of *layer* and *make* is given, or *request* is
            needed and not given.
        KeyError: if there is no rule of a name in *without*.
        WrongState: if an event loop runs in this thread.
    """
    subject = LayerSubject(layer, make=make, request=request, error=error)
    check_in_order(layer_rules, subject, virtual=True, without=without, loops=loops)
