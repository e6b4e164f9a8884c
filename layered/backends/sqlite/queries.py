"""The statements of the ``.sql`` files in this folder, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?);\n", re.MULTILINE | re.DOTALL)


def text(file: str) -> str:
    """Read a file of this folder."""
    return files("layered.backends.sqlite").joinpath(file).read_text(encoding="utf-8")


def named(file: str) -> Mapping[str, str]:
    """Read the statements of a file, each under a line ``-- name: …``."""
    return dict(_NAMED.findall(text(file)))
