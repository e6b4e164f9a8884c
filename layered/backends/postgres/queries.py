"""The statements of the ``.sql`` files in this folder, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import LiteralString

_FILES = {
    file.name: file.read_text(encoding="utf-8")
    for file in files("layered.backends.postgres").iterdir()
    if file.name.endswith(".sql")
}
"""All of them, read when this is imported: an event loop must not wait for a disk."""

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?);\n", re.MULTILINE | re.DOTALL)
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")


def checked_schema(name: str) -> str:
    """
    Answer the name of a schema, quoted.

    Raises:
        ValueError: if it is not of lower-case letters, digits and ``_``.
    """
    if not _SCHEMA.fullmatch(name):
        msg = f"a schema's name must be 1 to 48 of a-z, 0-9 and _, no digit first; got {name!r}"
        raise ValueError(msg)
    return f'"{name}"'


@cache
def text(file: str, schema: str) -> str:
    """Answer the text of a file of this folder; *schema* is quoted."""
    return _FILES[file].replace("{schema}", schema)


@cache
def named(file: str, schema: str) -> Mapping[str, LiteralString]:
    """Answer the statements of a file, each under a line ``-- name: …``."""
    return dict(_NAMED.findall(text(file, schema)))
