"""A stranger checks a backend by one line; a wrong one is told which rule it breaks."""

from collections.abc import Mapping, Sequence

import pytest

from layered.backend import Answer, Claimant, Claimed, Pushed, Release, Settle
from layered.task import Draft, Fence
from layered.testing import check_backend
from layered.testing.conformance.rule import RuleBroken
from tests.conformance.toy_backend import Row, ToyStorage


class Unfenced(ToyStorage):
    """Takes a write from whoever says that the task is his."""

    def _fenced(self, fence: Fence) -> Row | None:
        return self._rows.get(fence.id)


class FencedByState(ToyStorage):
    """Takes a write from anybody while the task runs."""

    def _fenced(self, fence: Fence) -> Row | None:
        row = self._rows.get(fence.id)
        return super()._fenced(Fence(fence.id, row.epoch, row.claim_id)) if row else None


class GivesTheEpochBack(ToyStorage):
    """Counts a run that was released as never begun."""

    async def release(self, items: Sequence[Release], /) -> Sequence[Answer]:
        answers = await super().release(items)
        for item in items:
            self._rows[item.fence.id].epoch -= 1
        return answers


class ClaimsEarly(ToyStorage):
    """Claims whatever is due within a minute."""

    async def claim(self, claimant: Claimant, wanted: Mapping[str, int], most: int, /) -> Claimed:
        now = self._now
        self._now = lambda: now() + 60.0
        try:
            return await super().claim(claimant, wanted, most)
        finally:
            self._now = now


class AlreadyForAnything(ToyStorage):
    """Takes another ending of the same run for a repetition."""

    def _refused(self, fence: Fence, operation: object) -> Answer:
        row = self._rows.get(fence.id)
        return super()._refused(fence, row.settled and row.settled[1] if row else None)


class ForgetsItsHints(ToyStorage):
    """Stores what is pushed, and tells nobody."""

    async def insert(self, drafts: Sequence[Draft], /) -> Sequence[Pushed]:
        return [self._insert(draft) for draft in drafts]


class GivesUpABatch(ToyStorage):
    """Settles the items of a batch up to the first that fails."""

    async def settle(self, items: Sequence[Settle], /) -> Sequence[Answer]:
        answers: list[Answer] = []
        for item in items:
            answers += await super().settle([item])
            if answers[-1].status is None:
                break
        return answers


WRONG: dict[type[ToyStorage], str] = {
    Unfenced: "'a write with another claim id is refused'",
    FencedByState: "'a write after the next claim is refused'",
    GivesTheEpochBack: "'the epoch rises at each claim'",
    ClaimsEarly: "'nothing is claimed before it is due'",
    AlreadyForAnything: "'nothing follows an ending'",
    ForgetsItsHints: "'a push gives a hint'",
    GivesUpABatch: "'one stale item does not abort a batch'",
}


def test_a_stranger_checks_a_backend_in_one_line() -> None:
    """The toy keeps every rule, on every loop."""
    check_backend(lambda now, limits: ToyStorage(str, now, limits))


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_backend_is_told_which_rule_it_breaks(wrong: type[ToyStorage]) -> None:
    """The message has the rule, and what it is about."""
    with pytest.raises(RuleBroken, match=WRONG[wrong]):
        check_backend(lambda now, limits: wrong(str, now, limits), loops=["asyncio"])
