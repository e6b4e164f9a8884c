"""Check the first rule of a suite before the others: who breaks it breaks them all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from layered.testing.conformance.rule import Suite

S = TypeVar("S")


def check_in_order(
    suite: Suite[S],
    subject: S,
    *,
    virtual: bool,
    without: Collection[str] = (),
    loops: Sequence[str] = (),
) -> None:
    """
    Check the first rule, and then the others.

    So a subject that cannot be used at all gets one line, not one for each rule.

    Args:
        suite: The rules.
        subject: What is checked.
        virtual: Whether on virtual time.
        without: Names of rules to leave out.
        loops: As in `Suite.check`.

    Raises:
        KeyError: if there is no rule of a name in *without*.
        RuleBroken: as `Suite.check`.
        WrongState: as `Suite.check`.
    """
    left_out = {suite[name].name for name in without}
    first, *others = [rule for rule in suite if rule.name not in left_out]
    for rules in ([first], others):
        part: Suite[S] = Suite(suite.kind, virtual=virtual)
        for rule in rules:
            part.rule(rule.function)
        part.check(subject, loops=loops)
