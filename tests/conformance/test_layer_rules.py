"""The rules of layers: each finds the fault that it is there for."""

import pytest

from layered.service.layer import LayerLike
from layered.testing import check_layer, layer_rules
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
