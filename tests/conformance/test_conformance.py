"""Every backend keeps the contract: each case of this folder, on each storage and loop."""

from pathlib import Path

import pytest

from tests.conformance import (  # noqa: F401 - they register their cases
    claim_cases,
    lease_cases,
    push_cases,
    retention_cases,
    settle_cases,
    wait_cases,
)
from tests.conformance.harness import CASES, Clock
from tests.conformance.storages import STORAGES, Make


@pytest.fixture(params=STORAGES)
def backend(request: pytest.FixtureRequest) -> Make:
    """Give the maker of each storage in turn."""
    return STORAGES[request.param]


@pytest.mark.parametrize("name", CASES)
async def test_backend_keeps_the_contract(name: str, backend: Make, tmp_path: Path) -> None:
    """The case's own docstring says what it shows."""
    clock = Clock()

    async with backend(tmp_path, clock, CASES[name].limits) as storage:
        await CASES[name].check(storage, clock)
