"""
Prints what each operation costs SQLite at a million tasks, as a table.

::

    python -m tests.plans.figures
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.plans.backlogs import BACKLOGS, made
from tests.plans.costs import OPERATIONS, cost, opened

SIZE = 1_000_000


def table(folder: Path) -> Iterator[str]:
    """Make the rows: steps of SQLite's machine for batches of 10 and of 100."""
    yield f"| Steps for 10 / for 100, of {SIZE:,} | " + " | ".join(BACKLOGS) + " |"
    yield "|---" * (1 + len(BACKLOGS)) + "|"
    columns = []
    for kind in BACKLOGS:
        with made(folder, kind, SIZE) as path, opened(path) as database:
            columns.append(
                [
                    " / ".join(f"{cost(database, each, count).steps:,}" for count in (10, 100))
                    for each in OPERATIONS.values()
                ]
            )
    for name, *cells in zip(OPERATIONS, *columns, strict=True):
        yield f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    with TemporaryDirectory() as folder:
        for line in table(Path(folder)):
            print(line)  # noqa: T201 - a program that prints


if __name__ == "__main__":
    main()
