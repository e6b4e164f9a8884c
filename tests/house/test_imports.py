"""What importing the package costs."""

import subprocess
import sys

from tests.house.source import ROOT

UNWANTED = {"coredis", "psycopg", "pytest", "sqlite3", "trio"}
# Only what the import adds: a coverage measurement has loaded sqlite3 before.
PROGRAM = """
import sys
before = set(sys.modules)
import layered
print(*sys.modules.keys() - before)
"""


def test_import_layered_loads_no_driver_and_no_test_tool() -> None:
    """A program pays only for the backend and the event loop that it uses."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert UNWANTED.intersection(done.stdout.split()) == set()
