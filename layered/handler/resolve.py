"""From a parameter to the `Source` of its value."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, get_args

import attrs

from layered.handler.accept import Form, accepts, bare, origin_of, shown
from layered.handler.signature import MISSING, Parameter
from layered.handler.source import (
    Attribute,
    Computed,
    Constant,
    Provided,
    Source,
    Unfillable,
    Wanted,
)
from layered.task import Kind, Task

SOURCES = (Attribute, Computed, Constant, Provided)


@attrs.frozen
class Offer:
    """
    What there is to fill parameters with.

    Args:
        data: What the worker provides, by type.
        kinds: The task types that the handler is for.
    """

    data: Mapping[type, object]
    kinds: tuple[Kind[Any], ...]


def source_of(parameter: Parameter, offer: Offer) -> Source | None:
    """
    Find what fills *parameter*; `None` if nothing does and it keeps its default.

    Raises:
        Unfillable: if it has no default, or its extractor has no value for it.
    """
    has_default = parameter.default is not MISSING
    form = parameter.form
    if parameter.problem is not None:
        if not has_default:
            found = f"its annotation {parameter.text!r} cannot be read"
            raise Unfillable(found, parameter.problem)
        form = MISSING
    source = _by_extractor(parameter, form, offer) or _by_type(bare(form), offer)
    if source is None and not has_default:
        raise _nothing(bare(form))
    if source is None and _is_extractor(parameter.default):
        found = f"its default is {parameter.default!r}, which would be passed as it is"
        way_out = f"write it in the annotation: Annotated[..., {parameter.default!r}]"
        raise Unfillable(found, way_out)
    return source


def _is_extractor(thing: object) -> bool:
    return callable(getattr(thing, "source", None))


def _by_extractor(parameter: Parameter, form: Form, offer: Offer) -> Source | None:
    metadata = form.__metadata__ if origin_of(form) is Annotated else ()
    extractors = [each for each in metadata if _is_extractor(each)]
    if not extractors:
        return None
    first = extractors[0]
    if len(extractors) > 1:
        found = f"it has {len(extractors)} extractors, {' and '.join(map(repr, extractors))}"
        raise Unfillable(found, "leave one of them")
    if isinstance(first, type):
        found = f"its extractor {first.__name__!r} is a class"
        raise Unfillable(found, f"write an object: {first.__name__}(...)")
    source: Source | None = first.source(Wanted(parameter.name, bare(form), offer.data))
    if not isinstance(source, SOURCES):
        found = f"its extractor {first!r} answered {source!r}"
        raise Unfillable(found, "answer a Constant, an Attribute, a Computed or a Provided")
    return source


def _by_type(form: Form, offer: Offer) -> Source | None:
    base = origin_of(form) or form
    if not isinstance(base, type):
        return None
    if issubclass(base, Task):
        return _whole_task(form, offer)
    make = getattr(base, "from_task", None)
    if not callable(make):
        return None
    if isinstance(inspect.getattr_static(base, "from_task"), types.FunctionType):
        found = f"the 'from_task' of {base!r} is no classmethod"
        raise Unfillable(found, "put @classmethod before it")
    return Computed(make, f"{base.__name__}.from_task")


def _whole_task(form: Form, offer: Offer) -> Source:
    for taken in get_args(form):
        for kind in offer.kinds:
            if not accepts(taken, kind.form):
                wrong = f"it wants {shown(form)} and would get Task[{shown(kind.form)}]"
                raise Unfillable(wrong, "annotate it with Task")
    return Attribute("", "task")


def _nothing(form: Form) -> Unfillable:
    if form is MISSING:
        found = "it has no annotation and no default"
        return Unfillable(found, "annotate it with what it wants, such as Data[State]")
    found = f"{form!r} has no 'from_task'"
    if not isinstance(form, type):
        return Unfillable(found, "annotate it with an extractor, such as Data[State]")
    name = form.__name__
    way_out = f"provide it with WorkerBuilder.data({name}(...)) and annotate it 'Data[{name}]'"
    return Unfillable(found, way_out)
