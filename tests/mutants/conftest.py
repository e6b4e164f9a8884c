"""The workshop that all mutants are tried in."""

import pytest

from tests.mutants.mutant import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Give one copy of the package for all tests of this process."""
    return Workshop(tmp_path_factory.mktemp("mutants"))
