"""
Whether a handler's first parameter takes a task's arguments.

Handlers are contravariant in it: a handler of `object`, of a base class or
of a wider union takes the arguments too. Where the run time cannot tell,
the answer is yes; type checkers see more.
"""

from __future__ import annotations

import re
import types
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin

from layered.handler.signature import MISSING

Form: TypeAlias = Any
"""A type form: a class, a union, an ``Annotated``, whatever stands in an annotation."""

_MODULES = re.compile(r"([\w<>]+\.)+(?=\w)")

# What checkers let pass without a subclass relation: PEP 484, the numeric tower.
_PROMOTED: dict[object, tuple[object, ...]] = {
    float: (int,),
    complex: (int, float),
    bytes: (bytearray, memoryview),
}


def accepts(taken: Form, given: Form) -> bool:
    """Tell whether a parameter of type *taken* can be given a value of type *given*."""
    taken, given = bare(taken), bare(given)
    if taken in (MISSING, Any, object, given) or isinstance(taken, TypeVar):
        return True
    if given_members := union_members(given):
        return all(accepts(taken, each) for each in given_members)
    if taken_members := union_members(taken):
        return any(accepts(each, given) for each in taken_members)
    if given in _PROMOTED.get(taken, ()):
        return True
    return _accepts_class(taken, given)


def bare(form: Form) -> Form:
    """Take away ``Annotated``, a type alias's name, and nothing else."""
    while True:
        if origin_of(form) is Annotated:
            form = form.__origin__
        elif type(form).__name__ == "TypeAliasType":
            form = form.__value__
        else:
            return form


def origin_of(form: Form) -> Form:
    """Answer the class of a generic form, the special form of others, or `None`."""
    return get_origin(form)


def shown(form: Form) -> str:
    """Write a type form for people, without modules: ``Task[Email]``."""
    if isinstance(form, type):
        return form.__name__
    return _MODULES.sub("", str(form))


def union_members(form: Form) -> tuple[Form, ...]:
    """Split a union; nothing for everything else."""
    return get_args(form) if origin_of(form) in {Union, types.UnionType} else ()


def _accepts_class(taken: Form, given: Form) -> bool:
    taken_class, given_class = _class_of(taken), _class_of(given)
    try:
        if not issubclass(given_class, taken_class):
            return False
    except TypeError:  # a TypedDict, a Protocol that is not for the run time, or no class
        return True
    inner, outer = get_args(given), get_args(taken)
    if taken_class is not given_class or len(inner) != len(outer):
        return True  # which argument of one stands for which of the other is unknown
    return all(accepts(*pair) for pair in zip(outer, inner, strict=True))


def _class_of(form: Form) -> Form:
    while hasattr(form, "__supertype__"):  # NewType
        form = form.__supertype__
    return origin_of(form) or form
