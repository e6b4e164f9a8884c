"""A progress bar on a terminal; a few plain lines anywhere else."""

from __future__ import annotations

import sys
from typing import TextIO

WIDTH = 40
QUARTERS = 4


class Progress:
    """
    Show how far a job has come.

    Args:
        total: What `done` reaches at the end; 1 or more.
        out: Where to write; the bar appears only if this is a terminal.
    """

    def __init__(self, total: int, out: TextIO = sys.stdout) -> None:
        self._total = total
        self._out = out
        self._live = out.isatty()
        self._shown = 0

    def update(self, done: int) -> None:
        """Show *done* of the total; without a terminal, at each quarter."""
        if self._live:
            filled = WIDTH * done // self._total
            bar = "#" * filled + "." * (WIDTH - filled)
            self._write(f"\r\x1b[K[{bar}] {done}/{self._total} delivered")
            return
        quarter = QUARTERS * done // self._total
        if quarter > self._shown:
            self._shown = quarter
            self._write(f"{done}/{self._total} delivered\n")

    def say(self, line: str) -> None:
        """Write *line* on a line of its own; the bar comes back below it."""
        self._write(f"\r\x1b[K{line}\n" if self._live else f"{line}\n")

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        if self._live:
            self._write("\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
