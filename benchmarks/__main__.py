"""
Measure what layered costs, and print tables.

`python -m benchmarks` runs everything; names, such as `layers sqlite`, choose.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from importlib import import_module
from importlib.metadata import version

import anyio

from benchmarks.table import table

NAMES = ("layers", "parts", "middleware", "injection", "memory", "sqlite", "latency", "imports")


def main(names: list[str]) -> int:
    """Run what was chosen; answer the exit status."""
    if unknown := [name for name in names if name not in NAMES]:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(machine(), end="\n\n")
    for loop in ("asyncio", "trio"):  # asyncio while trio is not yet loaded, as in most programs
        for name in names or NAMES:
            benchmark = import_module(f"benchmarks.{name}")
            if loop in benchmark.LOOPS:
                lines = anyio.run(benchmark.measure, backend=loop)
                print(table(f"{name} ({loop})", lines), flush=True)
    return 0


def machine() -> str:
    """Say where the figures come from."""
    parts = [f"{name} {version(name)}" for name in ("anyio", "trio", "msgspec")]
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {', '.join(parts)}, "
        f"SQLite {sqlite3.sqlite_version}; {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
