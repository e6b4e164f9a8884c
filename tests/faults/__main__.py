"""
The fault suite at length: ``python -m tests.faults [pytest's arguments]``.

Takes 10,000 tasks for each scenario, or FAULT_TASKS, and writes a line for
each to build/faults-sqlite.txt, or FAULT_REPORT.
"""

import os
import platform
import sqlite3
import sys
from pathlib import Path

import pytest

# Nothing of ours is imported here: pytest warns of what it could not rewrite.
ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run the suite; answer pytest's status."""
    tasks = int(os.environ.setdefault("FAULT_TASKS", "10000"))
    os.environ.setdefault("SOAK_SECONDS", "120")
    report = Path(os.environ.setdefault("FAULT_REPORT", str(ROOT / "build/faults-sqlite.txt")))
    report.parent.mkdir(exist_ok=True)
    report.write_text(
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores; {tasks:,} tasks for each scenario, synchronous=FULL\n",
        encoding="utf-8",
    )
    return pytest.main(["tests/faults", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
