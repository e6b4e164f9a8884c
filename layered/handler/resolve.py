"""From a parameter to the `Source` of its value."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

import attrs

from layered.handler.accept import accepts, bare
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
from layered.task import Kind, Task, form_name

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
    if parameter.problem is not None and parameter.default is MISSING:
        raise Unfillable(f"its annotation {parameter.text!r} cannot be read", parameter.problem)
    form = parameter.form if parameter.problem is None else MISSING
    source = _by_extractor(parameter, form, offer) or _by_type(bare(form), offer)
    if source is None and parameter.default is MISSING:
        raise _nothing(bare(form))
    if source is None and hasattr(parameter.default, "source"):
        raise Unfillable(
            f"its default is {parameter.default!r}, which would be passed as it is",
            f"write it in the annotation: Annotated[..., {parameter.default!r}]",
        )
    return source


def _by_extractor(parameter: Parameter, form: Any, offer: Offer) -> Source | None:
    metadata = form.__metadata__ if get_origin(form) is Annotated else ()
    found = [each for each in metadata if callable(getattr(each, "source", None))]
    if not found:
        return None
    if len(found) > 1:
        texts = " and ".join(map(repr, found))
        raise Unfillable(f"it has {len(found)} extractors, {texts}", "leave one of them")
    if isinstance(found[0], type):
        name = found[0].__name__
        raise Unfillable(f"its extractor {name!r} is a class", f"write an object: {name}(...)")
    source = found[0].source(Wanted(parameter.name, bare(form), offer.data))
    if not isinstance(source, SOURCES):
        raise Unfillable(
            f"its extractor {found[0]!r} answered {source!r}",
            "answer a Constant, an Attribute, a Computed or a Provided",
        )
    return source


def _by_type(form: Any, offer: Offer) -> Source | None:
    base = get_origin(form) or form
    if not isinstance(base, type):
        return None
    if issubclass(base, Task):
        return _whole_task(form, offer)
    if not callable(make := getattr(base, "from_task", None)):
        return None
    if isinstance(inspect.getattr_static(base, "from_task"), types.FunctionType):
        raise Unfillable(
            f"the 'from_task' of {base!r} is no classmethod", "put @classmethod before it"
        )
    return Computed(make, f"{base.__name__}.from_task")


def _whole_task(form: Any, offer: Offer) -> Source:
    for taken in get_args(form):
        for kind in offer.kinds:
            if not accepts(taken, kind.form):
                raise Unfillable(
                    f"it is a {form_name(form)} and would get a Task[{form_name(kind.form)}]",
                    "annotate it with Task",
                )
    return Attribute("", "task")


def _nothing(form: Any) -> Unfillable:
    if form is MISSING:
        return Unfillable(
            "it has no annotation and no default",
            "annotate it with what it wants, such as Data[State]",
        )
    if isinstance(form, type) and get_origin(form) is None:
        name = form.__name__
        return Unfillable(
            f"{form!r} has no 'from_task'",
            f"provide it with WorkerBuilder.data({name}(...)) and annotate it 'Data[{name}]'",
        )
    return Unfillable(
        f"{form} has no 'from_task'", "annotate it with an extractor, such as Data[State]"
    )
