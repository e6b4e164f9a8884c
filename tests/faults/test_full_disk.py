"""A disk fills up under a worker, and is given room again."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.backends import on_sqlite
from tests.faults.processes import ROOT
from tests.faults.setting import TASKS, Loop
from tests.faults.work import LIMIT

pytestmark = on_sqlite

SIZE = 6_000 + TASKS
"""Of the disk, in kB."""
# A small disk needs no privileges in a namespace of one's own, where the system allows that.
MOUNTED = f'mount -t tmpfs -o size={SIZE}k layered "$1/disk" && shift'


def alone(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell script in a namespace of its own, as far as users and mounts go."""
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *arguments],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(LIMIT + 60)
def test_a_full_disk_is_waited_out(
    tmp_path: Path, loop: Loop, report: Callable[[str, str], None]
) -> None:
    """A push says Full; what was accepted is done when there is room, nothing twice."""
    (tmp_path / "disk").mkdir()
    if not shutil.which("unshare") or alone(MOUNTED, str(tmp_path)).returncode:
        pytest.skip("this system lets nobody mount a disk of their own")

    done = alone(
        f'{MOUNTED} && exec "$@"',
        *(str(tmp_path), sys.executable, "-m", "tests.faults.full_disk", str(tmp_path), loop),
    )

    assert done.returncode == 0, done.stderr
    report(f"disk full, {loop}", done.stdout)
