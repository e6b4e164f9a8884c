"""
The matrix of `docs/choosing-a-backend.md`, made of what the storages declare.

``python -m tests.docs_examples.matrix`` writes it into the page.
"""

import re
from collections.abc import Iterator
from typing import Any

from layered import MemoryStorage, PostgresStorage, SqliteStorage, Storage
from layered.backend import Transactional, control
from tests.house.source import ROOT

PAGE = ROOT / "docs" / "choosing-a-backend.md"
PLACE = re.compile(r"(?<=<!-- matrix -->\n).*?(?=<!-- end -->)", re.DOTALL)

STORAGES: tuple[type[Storage[Any]], ...] = (MemoryStorage, SqliteStorage, PostgresStorage)
SURVIVED = {"none": "nothing", "process": "a crash of processes", "power": "a loss of power"}
CAPABILITY = "The capability to "
"""How the docstrings of capabilities begin; what follows says what one can do."""


def capabilities() -> Iterator[tuple[str, type]]:
    """Yield the protocols of capabilities, with what they are for."""
    for protocol in (Transactional, *vars(control).values()):
        what = str(protocol.__doc__).strip()
        if isinstance(protocol, type) and what.startswith(CAPABILITY):
            yield re.split("[.;]", what.removeprefix(CAPABILITY))[0], protocol


def rows() -> Iterator[tuple[str, list[str]]]:
    """Yield what is asked, and the answer of each storage."""
    yield "is", [summary(storage) for storage in STORAGES]
    yield (
        "an accepted push survives (`durability`)",
        [SURVIVED[storage.durability] for storage in STORAGES],
    )
    yield (
        "leases outlast a blocked event loop (`threaded_keeper`)",
        [told(storage.threaded_keeper) for storage in STORAGES],
    )
    yield "workers look at the store at least each (`poll`)", [*map(polled, STORAGES)]
    for what, name in (
        ("a push wakes workers of other processes", "with_notify"),
        ("push in a transaction of yours", "push_in"),
    ):
        yield f"{what} (`{name}`)", [told(hasattr(storage, name)) for storage in STORAGES]
    for what, protocol in capabilities():
        able = [told(issubclass(storage, protocol)) for storage in STORAGES]
        yield f"{what} (`{protocol.__name__}`)", able


def summary(storage: type[Storage[Any]]) -> str:
    """Return the promise of a storage: the first line of its docstring."""
    return str(storage.__doc__).strip().partition("\n")[0].removesuffix(".")


def told(answer: bool) -> str:
    """Say yes or no."""
    return "yes" if answer else "no"


def polled(storage: type[Storage[Any]]) -> str:
    """Say the interval, and that of a storage that hears of pushes."""
    make = getattr(storage, "with_notify", None)
    rarely = f", `with_notify` {make('', object).poll:g} s" if make else ""
    return f"{storage.poll:g} s{rarely}"


def matrix() -> str:
    """Render the matrix as Markdown."""
    table = [
        ("", [f"`{storage.__name__}`" for storage in STORAGES]),
        ("---", ["---"] * len(STORAGES)),
        *rows(),
    ]
    return "".join(f"| {what} | {' | '.join(answers)} |\n" for what, answers in table)


def filled(text: str) -> str:
    """Answer the page with the matrix of today in its place."""
    return PLACE.sub(lambda _: f"\n{matrix()}\n", text)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
