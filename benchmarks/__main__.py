"""
Measure what layered costs, and print tables.

    python -m benchmarks                  everything
    python -m benchmarks peers layers     questions whose names start so
    python -m benchmarks --write          and keep the results, for the documentation
    python -m benchmarks --docs           write the documentation from what was kept
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module

import anyio
import attrs

from benchmarks import page, results
from benchmarks.table import Table, text

NAMES = (
    "peers_memory",
    "peers_sqlite",
    "peers_postgres",
    "peers_postgres_latency",
    "peers_depth",
    "peers_imports",
    "memory",
    "sqlite",
    "postgres_backlog",
    "latency",
    "layers",
    "parts",
    "depth",
    "injection",
    "imports",
)
MORE = {
    "peers_sqlite": ("peers_sqlite_push",),
    "peers_postgres": (
        "peers_postgres_bulk",
        "peers_postgres_push",
        "peers_postgres_processor",
    ),
}
"""Further tables of a question."""
TABLES = [table for name in NAMES for table in (name, *MORE.get(name, ()))]


def main(arguments: list[str]) -> int:
    """Run what was chosen; answer the exit status."""
    parser = argparse.ArgumentParser("benchmarks", description="Measure what layered costs.")
    parser.add_argument("names", nargs="*", help=f"starts of {', '.join(NAMES)}; default all")
    parser.add_argument("--write", action="store_true", help="keep the results, and write the docs")
    parser.add_argument("--docs", action="store_true", help="measure nothing, only write the docs")
    chosen = parser.parse_args(arguments)
    if chosen.docs:
        page.write(results.load())
        return 0
    for name in chosen.names:
        if not any(each.startswith(name) for each in NAMES):
            parser.error(f"no benchmark {name!r}; there are {', '.join(NAMES)}")
    print(*results.machine().values(), sep="\n", end="\n\n")
    tables = []
    for table in _measured(
        [each for each in NAMES if each.startswith(tuple(chosen.names or ("",)))]
    ):
        print(text(table), flush=True)
        tables.append(table)
    if chosen.write:
        page.write(results.save(tables, TABLES))
    return 0


def _measured(names: list[str]) -> Iterator[Table]:
    for loop in (
        "",
        "asyncio",
        "trio",
    ):  # asyncio while trio is not yet loaded, as in most programs
        for name in names:
            question = import_module(f"benchmarks.{name}")
            if loop in question.LOOPS:
                for table in anyio.run(question.measure, backend=loop or "asyncio"):
                    yield attrs.evolve(table, loop=loop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
