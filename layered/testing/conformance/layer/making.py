"""Rules of what a layer is: configuration, that makes services and shows itself."""

from __future__ import annotations

from layered.testing.conformance.layer.call import ended, until
from layered.testing.conformance.layer.suite import rule
from layered.testing.conformance.layer.trial import Trial
from layered.testing.conformance.rule import equal, true


@rule
async def keeps_its_services_apart(trial: Trial) -> None:
    """What happens in one service of a layer means nothing to another; sharing is passed in."""
    other = trial.another()
    answered = await trial.ask()
    trial.inner.error = trial.subject.error()
    await trial.ask()
    trial.inner.error = None
    await trial.fill()

    equal(other.service.capacity(), other.capacity, "capacity() of a second service")
    call = other.start(request=answered.request)
    await until(ended([call]), "a second service answers while the first is full")
    call.answered(" of a second service")


@rule
async def shows_its_configuration(trial: Trial) -> None:
    """Layer and service have a `repr` of their own, by which a stack can be read."""
    layer = trial.subject.fresh()
    shown = [trial.service, *([layer] if hasattr(layer, "layer") else [])]

    for one in shown:
        true(
            type(one).__repr__ is not object.__repr__,
            f"repr() shows a configuration, and not {one!r}",
        )


@rule
async def declares_what_a_stack_reads(trial: Trial) -> None:
    """If it has them, `request_type` is a class, `absorbs` and `single` are `True` or `False`."""
    layer = trial.subject.fresh()
    for name, kind, default in (
        ("request_type", type, object),
        ("absorbs", bool, False),
        ("single", bool, False),
    ):
        value = getattr(layer, name, default)
        true(isinstance(value, kind), f"{name!r} is a {kind.__name__}, and not {value!r}")
