"""The rules of layers: each finds the fault that it is there for."""

import sys
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from layered import Middleware, WrongState, layer_fn
from layered.service.layer import LayerLike
from layered.testing import LayerSubject, check_layer, layer_rules
from layered.testing.conformance.rule import RuleBroken
from tests.conformance.strangers.wrong_layers import WRONG


def test_every_rule_of_layers_has_a_layer_that_breaks_it() -> None:
    """No rule is there that cannot fail."""
    assert set(WRONG) == {rule.name for rule in layer_rules}


@pytest.mark.parametrize(("rule", "layer"), WRONG.items(), ids=WRONG)
def test_a_layer_with_a_fault_is_told_which_rule_it_breaks(rule: str, layer: LayerLike) -> None:
    """The message of the one line names the rule."""
    with pytest.raises(RuleBroken, match=r"^the layer breaks") as raised:
        check_layer(layer)

    assert f"the rule {rule!r}" in str(raised.value)


def test_the_page_on_layers_lists_the_rules() -> None:
    """The table in the documentation is what the suite says of itself."""
    page = Path(__file__).parents[2] / "docs" / "testing-your-layer.md"
    table = [line for line in page.read_text().splitlines() if line.startswith("| ")]

    rows = [f"| {rule.name} | {rule.text} |" for rule in layer_rules]

    assert [row for row in table if row in rows] == rows


class Absorbing(Middleware[Any, Any]):
    """Hides what the inner service says of its room."""

    absorbs = True

    async def ready(self) -> None:
        return

    def capacity(self) -> int:
        return sys.maxsize


def test_a_layer_that_absorbs_may_hide_the_inner_back_pressure() -> None:
    """The suite reads the declaration; without it two rules are broken."""
    check_layer(Absorbing)

    with pytest.raises(RuleBroken, match="says no more than the inner capacity"):
        check_layer(layer_fn(Absorbing))


def test_a_layer_that_breaks_a_rule_on_purpose_leaves_it_out() -> None:
    """By its name, which must be one."""
    check_layer(WRONG["passes the request on"], without=["passes the request on"])

    with pytest.raises(KeyError, match="passes everything"):
        check_layer(Absorbing, without=["passes everything"])


def test_a_layer_for_other_requests_is_checked_with_those() -> None:
    """The suite makes objects and tasks; of others it must be told."""

    class Loud(Middleware[str, Any]):
        request_type = str

        async def call(self, request: str, /) -> Any:
            assert request.isprintable()
            return await self.inner.call(request)

    check_layer(Loud, request=lambda: "a text")

    with pytest.raises(TypeError, match="a layer that needs str: pass what makes one"):
        check_layer(Loud)


class GivesUp(Middleware[Any, Any]):
    """Takes no more calls after an error."""

    closed = False

    async def call(self, request: Any, /) -> Any:
        if self.closed:
            raise OSError("closed")
        try:
            return await self.inner.call(request)
        except Exception:
            self.closed = True
            raise


class Elsewhere(Middleware[Any, Any]):
    """Calls the inner service in a context of its own, where spans and log fields are lost."""

    async def call(self, request: Any, /) -> Any:
        coroutine: Any = self.inner.call(request)
        try:
            Context().run(coroutine.send, None)
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (GivesUp, r"'gives back what a call took'.* a call afterwards raised OSError\('closed'\)"),
        (Elsewhere, "must be called in the context of who calls the layer's"),
    ],
)
def test_a_layer_is_told_what_was_found(layer: LayerLike, told: str) -> None:
    """Beside the rule."""
    with pytest.raises(RuleBroken, match=told):
        check_layer(layer)


@pytest.mark.parametrize("layers", [{}, {"layer": Absorbing, "make": lambda: Absorbing}], ids=len)
def test_one_layer_is_checked_at_a_time(layers: dict[str, Any]) -> None:
    """None and two are refused."""
    with pytest.raises(TypeError, match="give one: the layer, or a function that makes it"):
        LayerSubject(**layers)


async def test_layers_are_not_checked_inside_an_event_loop() -> None:
    """It would hang, or run two loops in one thread."""
    with pytest.raises(WrongState, match="an event loop runs here"):
        check_layer(Absorbing)
