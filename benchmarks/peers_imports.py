"""How long does the import take, less the start of the interpreter, beside other libraries?"""

from __future__ import annotations

import sys

from benchmarks.imports import seconds
from benchmarks.peers.environments import NotInstalled, interpreter
from benchmarks.table import Line, Table

LOOPS = ("",)  # no loop has a part in it
ROUNDS = 10
PROGRAMS = {
    "huey": "import huey",
    "taskiq": "import taskiq",
    "dramatiq": "import dramatiq",
    "persist-queue": "import persistqueue",
    "litequeue": "import litequeue",
}


async def measure() -> list[Table]:
    """Compare, each with an empty start of its own interpreter."""
    programs, missing = {"import layered": ("import layered", sys.executable)}, []
    for peer, program in PROGRAMS.items():
        try:
            programs[program] = program, str(interpreter(peer))
        except NotInstalled as error:
            missing.append(str(error))
    best = dict.fromkeys(programs, (float("inf"), float("inf")))
    for _ in range(ROUNDS):
        for what, (program, python) in programs.items():
            empty, full = best[what]
            best[what] = min(empty, seconds("", python)), min(full, seconds(program, python))
    lines = [
        Line(what, full - empty, whose="ours" if "layered" in what else "peer")
        for what, (empty, full) in best.items()
    ]
    return [
        Table("peers_imports", "An import, less the start of the interpreter", lines, notes=missing)
    ]
