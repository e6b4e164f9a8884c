"""`assert_pushed`: what a program under test has pushed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from layered.backend import Filter, Lists, Storage
from layered.task import Kind, form_name

if TYPE_CHECKING:
    from typing_extensions import TypeForm

A = TypeVar("A")

PAGE = 500
"""Tasks that are read at once."""
SHOWN = 5
"""Tasks that a message shows."""


async def pushed(storage: Storage[Any], form: TypeForm[A], /, **fields: object) -> list[A]:
    """
    Answer the arguments of all tasks of a type, the first pushed first.

    Whatever has become of them, they are found: ready, in the future,
    running or ended, until they are pruned.

    Args:
        storage: Where they were pushed to.
        form: The type of the arguments, as the storage was given it.
        fields: Attributes that the arguments have, or items, where they are a dict.

    Raises:
        TypeError: if the storage cannot list its tasks, or does not hold that type.
    """
    return [args for args in await _all(storage, form) if _fits(args, fields)]


async def assert_pushed(storage: Storage[Any], form: TypeForm[A], /, **fields: object) -> list[A]:
    """
    Fail unless a task of a type was pushed; otherwise as `pushed`.

    ::

        await assert_pushed(storage, Email, to="ada@example.org")
        (email,) = await assert_pushed(storage, Email)  # exactly one

    Raises:
        AssertionError: if none fits; the message shows those that do not.
        TypeError: as `pushed`.
    """
    everything = await _all(storage, form)
    found = [args for args in everything if _fits(args, fields)]
    if not found:
        wanted = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        what = f"{form_name(form)}({wanted})"
        msg = f"no {what} was pushed to queue {storage.queue!r}; {_told(everything)}"
        raise AssertionError(msg)
    return found


async def _all(storage: Storage[Any], form: TypeForm[A]) -> list[A]:
    """Read every task of the type, a page at a time; not what is left of pruned ones."""
    if not isinstance(storage, Lists):
        msg = f"looking for what was pushed: {storage!r} cannot list its tasks; give it page()"
        raise TypeError(msg)
    kind = _kind(storage, form)
    wanted = Filter(queue=storage.queue, names=[kind.name])
    found: list[A] = []
    after: str | None = None
    while True:
        page = await storage.page(wanted, after, PAGE)
        records = await storage.fetch([task.id for task in page.tasks])
        found += [kind.decode(each.payload) for each in records if each and each.payload]
        if page.after is None:
            return found[::-1]  # pages begin with the last pushed
        after = page.after


def _kind(storage: Storage[Any], form: TypeForm[A]) -> Kind[A]:
    for kind in storage.kinds:
        if kind.form == form:
            return kind
    held = ", ".join(form_name(kind.form) for kind in storage.kinds)
    msg = f"looking for what was pushed: {storage!r} holds {held}, got {form!r}"
    raise TypeError(msg)


def _fits(args: object, fields: Mapping[str, object]) -> bool:
    missing = object()
    if isinstance(args, Mapping):
        return all(args.get(name, missing) == value for name, value in fields.items())
    return all(getattr(args, name, missing) == value for name, value in fields.items())


def _told(others: list[Any]) -> str:
    if not others:
        return "none of that type was"
    shown = ", ".join(map(repr, others[:SHOWN]))
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return f"what was: {shown}{more}"
