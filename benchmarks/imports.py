"""
How long does `import layered` take, in a process of its own?

Less the start of the interpreter. The floor is what layered imports of others.
"""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

from benchmarks.rounds import Case, fastest
from benchmarks.table import Line, Table

LOOPS = ("",)  # no loop has a part in it
ROUNDS = 10
OTHERS = (
    "import anyio.from_thread, anyio.to_thread, attrs, msgspec, tenacity, typing_extensions, "
    "opentelemetry.baggage, opentelemetry.propagate, opentelemetry.trace"
)


async def measure() -> list[Table]:
    """Compare with an empty start."""
    programs = {
        "an empty start": "",
        "import asyncio": "import asyncio",
        "what layered needs of others": OTHERS,
        "import layered": "import layered",
        "from layered import SqliteStorage": "from layered import SqliteStorage",
    }
    best = await fastest({name: _started(text) for name, text in programs.items()}, ROUNDS)
    start, *names = programs
    floor = best["what layered needs of others"] - best[start]
    lines = [
        Line(start, best[start]),
        *(
            Line(name, best[name] - best[start], floor if "layered" in programs[name] else None)
            for name in names
        ),
    ]
    return [Table("imports", "An import, less the start of the interpreter", lines)]


def _started(program: str) -> Case:
    async def one() -> float:
        return seconds(program)

    return one


def seconds(program: str, python: str = sys.executable) -> float:
    """Answer how long it takes in a new process, of the interpreter *python*."""
    start = perf_counter()
    subprocess.run([python, "-c", program], check=True)  # noqa: S603 - our own text
    return perf_counter() - start
