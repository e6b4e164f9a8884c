"""What was measured, where, and by which versions: kept as JSON, for the documentation."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import attrs
import msgspec

from benchmarks.peers.environments import PEERS, pinned
from benchmarks.table import Table

FILE = Path(__file__).with_name("results.json")
"""The results of the last ``--write``."""


@attrs.frozen
class Results:
    """
    The tables, and where they were measured.

    Args:
        machine: What it is, by kind of fact.
        tables: In the order of the questions.
    """

    machine: Mapping[str, str]
    tables: Sequence[Table]


def machine() -> dict[str, str]:
    """Say where the figures come from."""
    ours = [f"{name} {version(name)}" for name in ("anyio", "trio", "msgspec", "psycopg")]
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join([*ours, f"SQLite {sqlite3.sqlite_version}"]),
        "peers": ", ".join(f"{name} {pinned(name)}" for name in PEERS),
    }


def load(path: Path = FILE) -> Results:
    """
    Read what was kept.

    Raises:
        FileNotFoundError: if nothing was.
    """
    return msgspec.json.decode(path.read_bytes(), type=Results)


def save(tables: Sequence[Table], order: Sequence[str], path: Path = FILE) -> Results:
    """
    Keep *tables* in place of those of the same questions; answer all that is kept.

    Args:
        tables: What was measured now.
        order: The names of all tables; any other is forgotten.
        path: The file.
    """
    before = load(path).tables if path.exists() else ()
    kept = {(table.name, table.loop): table for table in (*before, *tables)}
    known = [table for table in kept.values() if table.name in order]
    known.sort(key=lambda table: (order.index(table.name), table.loop))
    results = Results(machine(), [_rounded(table) for table in known])
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    return results


def _rounded(table: Table) -> Table:
    """Leave out digits that no run repeats."""

    def short(value: float) -> float:
        return float(f"{value:.4g}")

    lines = [
        attrs.evolve(
            line,
            seconds=short(line.seconds),
            floor=None if line.floor is None else short(line.floor),
            spread=line.spread and (short(line.spread[0]), short(line.spread[1])),
        )
        for line in table.lines
    ]
    return attrs.evolve(table, lines=lines)


def _processor() -> str:
    """Answer the name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
