"""
The fault suite at length: ``python -m tests.faults [pytest's arguments]``.

Takes 10,000 tasks for each scenario, or FAULT_TASKS, and writes a line for each to
build/faults-sqlite.txt and build/faults-postgres.txt, or into FAULT_REPORTS. ``-k postgres``
takes one backend, and leaves the other's report as it is.
"""

import os
import platform
import sqlite3
import sys
from pathlib import Path

import pytest

# Nothing of ours is imported here: pytest warns of what it could not rewrite.
ROOT = Path(__file__).parents[2]
POSTGRES = "PostgreSQL 16.14"
"""The server of the wheel that the tests start."""
STORES = {
    "sqlite": f"SQLite {sqlite3.sqlite_version}, synchronous=FULL",
    "postgres": f"{POSTGRES} as it is shipped: fsync, synchronous_commit",
}


def main() -> int:
    """Run the suite; answer pytest's status."""
    tasks = int(os.environ.setdefault("FAULT_TASKS", "10000"))
    os.environ.setdefault("SOAK_SECONDS", "120")
    reports = Path(os.environ.setdefault("FAULT_REPORTS", str(ROOT / "build")))
    reports.mkdir(exist_ok=True)
    arguments = sys.argv[1:]
    for backend, store in STORES.items():
        if any(other in arguments for other in STORES.keys() - {backend}):
            continue
        (reports / f"faults-{backend}.txt").write_text(
            f"{platform.python_implementation()} {platform.python_version()}, {store}; "
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; "
            f"{tasks:,} tasks for each scenario\n",
            encoding="utf-8",
        )
    return pytest.main(["tests/faults", *arguments])


if __name__ == "__main__":
    sys.exit(main())
