"""That the matrix of backends is what the storages declare."""

import pytest

from layered import SqliteStorage
from layered.backend import control
from tests.docs_examples import matrix


def test_matrix_in_the_page_is_what_the_storages_declare() -> None:
    """``python -m tests.docs_examples.matrix`` writes it anew."""
    text = matrix.PAGE.read_text()

    assert matrix.matrix() in text
    assert matrix.filled(text) == text


def test_matrix_leaves_no_capability_out() -> None:
    """Each protocol of the control operations has a row, however its docstring begins."""
    protocols = {
        each for each in vars(control).values() if getattr(each, "_is_runtime_protocol", False)
    }

    shown = {protocol for _, protocol in matrix.capabilities()}

    assert len(protocols) > 1
    assert protocols <= shown


def test_matrix_goes_by_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not written by hand: what a storage does not have is a no."""

    class Less(SqliteStorage[str]):
        """Less than a storage."""

        durability = "process"
        cancel = None  # type: ignore[assignment] # as one says that it is not there

    monkeypatch.setattr(matrix, "STORAGES", (Less,))

    assert [answers for _, answers in matrix.rows()][:3] == [
        ["Less than a storage"],
        ["a crash of processes"],
        ["yes"],
    ]
    assert "| cancel tasks (`Cancels`) | no |\n" in matrix.matrix()
    assert "| run ended tasks again (`Requeues`) | yes |\n" in matrix.matrix()
