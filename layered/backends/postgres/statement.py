"""Our statements as other drivers take them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from layered.backends.postgres.arrays import Blobs, Texts

Style = Literal["psycopg", "asyncpg"]
"""Whose placeholders a statement has: ``%(name)s`` of psycopg, or ``$1`` of asyncpg."""

_PLACE = re.compile(r"%%|%\((\w+)\)s")


def named_values(values: Mapping[str, object]) -> dict[str, object]:
    """Answer parameters that psycopg takes as it comes, without dumpers of ours."""
    return {name: _listed(value) for name, value in values.items()}


def numbered(query: str, values: Mapping[str, object]) -> tuple[str, tuple[object, ...]]:
    """
    Answer a statement with ``$1``, and its parameters in that order.

    A text goes as text, whatever it is cast to then: asyncpg would want
    the objects that the server makes of it.
    """
    places: dict[str, int] = {}

    def place(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "%"
        number = places.setdefault(name, len(places) + 1)
        return f"${number}::text" if isinstance(values[name], str) else f"${number}"

    text = _PLACE.sub(place, query)
    return text, tuple(_listed(values[name]) for name in places)


def _listed(value: object) -> object:
    if isinstance(value, Texts):
        return [None if each is None else each.decode() for each in value]
    return [*value] if isinstance(value, Blobs) else value
