"""An environment for each peer, with exactly the versions that are pinned."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = (
    "huey",
    "taskiq",
    "dramatiq",
    "persist-queue",
    "litequeue",
    "pgqueuer",
    "procrastinate",
    "chancy",
    "saq",
)


class NotInstalled(Exception):
    """
    A peer could not be installed.

    Args:
        peer: Its name.
        reason: The installer's last word.
    """

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer} {pinned(peer)} is missing, it was not installed: {reason}")


def interpreter(peer: str) -> Path:
    """
    Answer the interpreter of *peer*'s environment, which is made if it is not there.

    Raises:
        NotInstalled: if that fails.
    """
    folder = ROOT / "build" / "peers" / peer
    wanted, ready = _pins(peer).read_text(), folder / "pins.txt"
    python = folder / "bin" / "python"
    if not ready.exists() or ready.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {peer} {pinned(peer)}", file=sys.stderr)
        pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet")
        for command in (
            (sys.executable, "-m", "venv", "--without-pip", str(folder)),
            (*pip, "--no-deps", "--requirement", str(_pins(peer))),
        ):
            done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own
            if done.returncode:
                raise NotInstalled(peer, last_line(done.stderr))
        ready.write_text(wanted)
    return python


def pinned(peer: str) -> str:
    """Answer the version of *peer* that is compared."""
    for line in _pins(peer).read_text().splitlines():
        name, _, version = line.partition("==")
        if name == peer:
            return version
    raise LookupError(peer)


def last_line(text: str) -> str:
    """Answer the last line that says something."""
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"])[-1]


def _pins(peer: str) -> Path:
    return HERE / f"{peer}.txt"
