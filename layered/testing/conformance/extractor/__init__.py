"""
The extractor suite: the rules that whatever fills handlers' parameters keeps.

In a plain test function, one line::

    def test_tenant_is_an_extractor() -> None:
        check_extractor(Tenant, Sample(Tenant("acme"), metadata={"tenant": "acme"}))
"""

from __future__ import annotations

from collections.abc import Sequence

from layered.testing.conformance.checking import check_in_order
from layered.testing.conformance.extractor.rules import extractor_rules as extractor_rules
from layered.testing.conformance.extractor.subject import (
    ExtractorSubject as ExtractorSubject,
    Form,
    Sample as Sample,
)


def check_extractor(
    form: Form,
    /,
    *samples: Sample,
    data: Sequence[object] = (),
    parameter: str = "value",
    loops: Sequence[str] = (),
) -> None:
    """
    Check what fills a parameter against every rule.

    Args:
        form: The parameter's annotation: a class with ``from_task``, or an
            ``Annotated`` type with an extractor.
        samples: Tasks with their values; 1 or more, better 2 with different values.
        data: What the worker provides (`WorkerBuilder.data`).
        parameter: The parameter's name.
        loops: ``"asyncio"`` and ``"trio"``; empty for all that are installed.

    Raises:
        RuleBroken: if it breaks a rule; the message lists all that it breaks.
        ValueError: if there are no samples.
        WrongState: if an event loop runs in this thread.
    """
    if not samples:
        msg = f"checking {form!r}: no samples are given; pass some: Sample(value, metadata=...)"
        raise ValueError(msg)
    subject = ExtractorSubject(form, samples, data, parameter)
    check_in_order(extractor_rules, subject, virtual=False, loops=loops)
