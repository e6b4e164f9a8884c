"""A contender that is missing is named, and the others go on."""

from pathlib import Path

import pytest

from benchmarks.peers import environments
from benchmarks.peers.environments import PEERS, NotInstalled, interpreter, pinned
from benchmarks.peers.race import Contender, race

OURS = Contender(
    "ours", "", ("ours", "sqlite-asyncio", 3), "ours", "kept: {journal}, {synchronous}"
)


def test_race_names_who_failed_and_places_the_others() -> None:
    """A contender that fails is left out from then on; its last word is told once."""
    nobody = Contender("nobody", "", ("nobody",))

    (place,), missing = race([nobody, OURS], 2)

    assert place.contender is OURS
    assert {"push", "process"} <= place.best.keys()
    (reason,) = missing
    assert reason.startswith("nobody is missing, it failed: ")
    assert "benchmarks.peers.nobody" in reason


def test_race_tells_which_durability_was_found() -> None:
    """The promise of a line has what the contender's own connection answered."""
    (place,), _ = race([OURS], 1)

    line = place.line("process", 1.0, 1 / 8)

    assert line.promise == "kept: WAL, FULL"
    assert (line.what, line.whose, line.held) == ("ours", "ours", True)


def test_interpreter_tells_why_a_peer_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installer's word is kept, and no half environment is taken for a whole one."""
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    (tmp_path / "nothing.txt").write_text("./nowhere.whl\nnothing==1.0\n")

    for _ in range(2):
        with pytest.raises(NotInstalled, match=r"nothing 1\.0 is missing, it was not installed: "):
            interpreter("nothing")


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_is_pinned_with_all_that_it_needs(peer: str) -> None:
    """Each line of a peer's pins is one exact version."""
    lines = (environments.HERE / f"{peer}.txt").read_text().splitlines()

    assert pinned(peer)
    assert [line for line in lines if line.count("==") != 1] == []
