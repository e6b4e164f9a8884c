"""Every backend keeps the contract: each rule, on each backend and event loop."""

from pathlib import Path

import pytest

from layered.testing import backend_rules
from layered.testing.conformance.backend import Make
from layered.testing.conformance.rule import Rule
from tests.conformance.storages import BACKENDS


@pytest.fixture(params=BACKENDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Give a maker of storages; a server that it needs is started here, outside the loop."""
    return BACKENDS[request.param](tmp_path)


@pytest.mark.parametrize("rule", backend_rules)
async def test_backend_keeps_the_rule(rule: Rule[Make], make: Make) -> None:
    """The rule's own docstring says what it shows."""
    await rule.check(make)
