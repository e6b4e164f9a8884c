"""The conformance suite can fail: it finds each fault put into the statements of SQLite."""

import importlib
from pathlib import Path
from typing import NamedTuple

import pytest

from layered.backends.sqlite import settle
from layered.testing import backend_rules
from layered.testing.conformance.rule import RuleBroken
from tests.conformance.storages import BACKENDS


class Mutant(NamedTuple):
    """A fault: a part of a statement replaced; and the rule that must find it."""

    where: str
    part: str
    fault: str
    rule: str


MUTANTS = {
    "settle fenced by state only": Mutant(
        "settle._DEAD",
        "id = ? AND epoch = ? AND claim_id = ?",
        "id = ? AND (epoch = ? OR claim_id = ? OR TRUE)",
        "a_write_with_another_epoch_is_refused",
    ),
    "settle without the epoch": Mutant(
        "settle._DONE", "epoch = ?", "(epoch = ? OR TRUE)", "a_write_with_another_epoch_is_refused"
    ),
    "settle without the claim id": Mutant(
        "settle._DONE",
        "claim_id = ?",
        "(claim_id = ? OR TRUE)",
        "a_write_with_another_claim_id_is_refused",
    ),
    "batch settle without the epoch": Mutant(
        "settle._ALL_DONE",
        "epoch = item.column5",
        "(epoch = item.column5 OR TRUE)",
        "a_batch_of_another_epoch_is_refused",
    ),
    "batch settle without the state": Mutant(
        "settle._ALL_DONE", "AND state = 4", "", "a_batch_leaves_what_has_ended"
    ),
    "settle without the state": Mutant(
        "settle._DONE", "AND state = 4", "", "nothing_follows_an_ending"
    ),
    "retry without the claim id": Mutant(
        "settle._RETRY",
        "claim_id = :claim AND",
        "(claim_id = :claim OR TRUE) AND",
        "a_write_with_another_claim_id_is_refused",
    ),
    "release without the state": Mutant(
        "settle._RELEASE", "AND state = 4", "", "nothing_follows_an_ending"
    ),
    "release charged": Mutant("settle._RELEASE", ") - 1", ")", "a_release_is_not_charged"),
    "ledger overwritten": Mutant(
        "settle._RETRY",
        "attempt = max(attempt, :attempt)",
        "attempt = :attempt",
        "the_ledger_never_falls",
    ),
    "attempts unchecked at a retry": Mutant(
        "settle._RETRY", ">= max_attempts, 6, 2", "> 1000, 6, 2", "a_retry_at_max_attempts_is_dead"
    ),
    "already by the claim alone": Mutant(
        "settle._SETTLED",
        "settled_op = ?",
        "(settled_op = ? OR TRUE)",
        "another_ending_after_a_settle_is_stale",
    ),
    "already by the operation alone": Mutant(
        "settle._SETTLED",
        "settled_claim = ?",
        "(settled_claim = ? OR TRUE)",
        "a_write_to_an_ended_task_is_refused",
    ),
    "renew without the fence": Mutant(
        "lease._RENEW",
        "task.epoch = item.epoch AND",
        "",
        "a_write_with_another_epoch_is_refused",
    ),
    "renew shortens": Mutant(
        "lease._RENEW",
        "max(task.lease_until, :until)",
        ":until",
        "a_renewal_never_shortens_a_lease",
    ),
    "renew keeps the first length": Mutant(
        "lease._RENEW",
        ", lease = max(task.lease, :lease)",
        ", lease = iif(:lease, task.lease, task.lease)",
        "a_lease_may_be_renewed_for_longer",
    ),
    "reap of live leases": Mutant(
        "lease._OVERDUE", "lease_until <= :mono", "(:mono OR TRUE)", "a_live_lease_is_not_reaped"
    ),
    "reap without its mark": Mutant("lease._REAP", "'reaped'", "'done'", "a_reaped_run_is_stale"),
    "epoch not raised": Mutant(
        "claim._START", "epoch = epoch + 1", "epoch = epoch", "the_epoch_rises_at_each_claim"
    ),
    "promoted too early": Mutant(
        "claim._PROMOTE",
        "due_at <= ?",
        "due_at <= ? + 1000000",
        "nothing_is_claimed_before_it_is_due",
    ),
    "priority ignored": Mutant(
        "claim._PICK", "-priority, due_at", "0, due_at", "claims_are_in_order"
    ),
    "strip forgets the result": Mutant(
        "prune._STRIP", "result = NULL, ", "", "a_pruned_task_leaves_a_tombstone"
    ),
}


def statement(mutant: Mutant) -> tuple[str, str]:
    """Answer where the statement stands, and its text without the fault."""
    module, _, name = mutant.where.partition(".")
    where = f"layered.backends.sqlite.{module}"
    text: str = getattr(importlib.import_module(where), name)
    return f"{where}.{name}", text


@pytest.mark.parametrize("name", MUTANTS)
async def test_conformance_finds_a_faulty_statement(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault breaks the rule that is named with it."""
    mutant, make = MUTANTS[name], BACKENDS["sqlite"](tmp_path)
    where, text = statement(mutant)
    assert mutant.part in text
    await backend_rules[mutant.rule].check(make)
    monkeypatch.setattr(where, text.replace(mutant.part, mutant.fault))
    settle._all_done_sql.cache_clear()

    with pytest.raises(RuleBroken, match=r"must (be|hold)"):
        await backend_rules[mutant.rule].check(make)

    settle._all_done_sql.cache_clear()
