"""What can be known of tenacity's policies without asking them: tenacity does not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from typing import TypeAlias

import tenacity
from tenacity import RetryCallState

from layered.service.layer import name_of

Stop: TypeAlias = Callable[[RetryCallState], bool]
Wait: TypeAlias = Callable[[RetryCallState], float]
Retryable: TypeAlias = Callable[[RetryCallState], bool]

PARTS = ("retries", "stops", "strategies", "wait_funcs")
"""The attributes in which tenacity's combinations keep what they combine."""

ON_ERRORS_ONLY: frozenset[type] = frozenset(
    {
        tenacity.retry_if_exception,
        tenacity.retry_if_exception_cause_type,
        tenacity.retry_if_exception_message,
        tenacity.retry_if_exception_type,
        tenacity.retry_if_not_exception_type,
        type(tenacity.retry_never),
    }
)
"""Predicates that are false for every result. Not ``retry_unless_exception_type`` and
``retry_if_not_exception_message``: they are true for one."""

WITHOUT_TIME: frozenset[type] = frozenset(
    {
        tenacity.stop_after_attempt,
        type(tenacity.stop_never),
        tenacity.wait_exponential,
        tenacity.wait_exponential_jitter,
        tenacity.wait_fixed,
        tenacity.wait_incrementing,
        tenacity.wait_none,
        tenacity.wait_random,
        tenacity.wait_random_exponential,
    }
)
"""Policies that never look at when the call began."""

VOCABULARY = (tenacity.stop.stop_base, tenacity.wait.wait_base, tenacity.retry_base)

COMBINATIONS: frozenset[type] = frozenset(
    {
        tenacity.retry_all,
        tenacity.retry_any,
        tenacity.stop_all,
        tenacity.stop_any,
        tenacity.wait_chain,
        tenacity.wait_combine,
    }
)


def shown(policy: object) -> str:
    """Show a policy as it is written: tenacity's objects have no `repr`."""
    if not isinstance(policy, VOCABULARY):
        return name_of(policy)
    values = {
        name: value
        for name, value in vars(policy).items()
        if getattr(value, "__self__", None) is not policy  # `predicate`, where it is a method
    }
    parts = [", ".join(map(shown, values.pop(name))) for name in PARTS if name in values]
    named = [f"{name}={name_of(value)}" for name, value in values.items()]
    return f"{type(policy).__name__.lstrip('_')}({', '.join(parts + named)})"


def problems(name: str, policy: object) -> Iterator[str]:
    """Say why *policy* cannot be the layer's *name*, with the way out."""
    if not callable(policy):
        yield f"{name!r} must be one of tenacity's {name}_... objects or a callable, got {policy!r}"
    elif isinstance(policy, tenacity.stop_after_attempt) and policy.max_attempt_number < 1:
        yield f"{name!r} must allow 1 run or more, got {policy.max_attempt_number!r}"
    for part in _parts_of(policy):
        called = getattr(type(part), "__call__", None)  # noqa: B004 - the method itself is wanted
        if iscoroutinefunction(part) or iscoroutinefunction(called):
            yield f"{name!r} has {shown(part)}, which is async; decide without waiting"


def _parts_of(policy: object) -> Iterator[object]:
    yield policy
    if not isinstance(policy, VOCABULARY):
        return
    for name in (*PARTS, "predicate"):
        parts = getattr(policy, name, ())
        for part in parts if isinstance(parts, tuple) else (parts,):
            yield from _parts_of(part)


def all_of(policy: object, known: frozenset[type]) -> bool:
    """Tell whether *policy* is of the *known* types, or combines such only."""
    if type(policy) in COMBINATIONS:
        return all(all_of(part, known) for name in PARTS for part in getattr(policy, name, ()))
    return type(policy) in known
