"""The whole demo: 1,200 mails, a server that misbehaves, a worker killed half-way."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(150)
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_demo_delivers_every_deliverable_mail_and_says_what_it_cost(loop: str) -> None:
    """It ends with status 0, and its report adds up."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.email_worker"],
        cwd=ROOT,
        env={**os.environ, "LOOP": loop},
        capture_output=True,
        text=True,
        check=False,
    )

    told = done.stdout
    assert done.returncode == 0, told + done.stderr
    figures = {
        name: int(re.findall(rf"^{re.escape(name)} +(\d+)$", told, re.MULTILINE)[0])
        for name in ("pushed", "delivered (distinct)", "dead", "tasks retried", "lost")
    }
    assert (figures["pushed"], figures["lost"]) == (1200, 0)
    assert figures["delivered (distinct)"] + figures["dead"] == 1200
    assert figures["tasks retried"] > 0
    assert "killed with SIGKILL; another takes over" in told
    assert told.index("TracingLayer") < told.index("ConcurrencyLimitLayer(limit=20)")
    assert float(re.findall(r"ended after ([\d.]+) s", told)[0]) < 60
