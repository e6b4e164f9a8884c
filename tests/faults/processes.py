"""Worker processes: started, listened to, signalled, and all gone at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs
import msgspec

from tests.faults.setting import Setting, Told

ROOT = Path(__file__).parents[2]


def wait_until(holds: Callable[[], bool], limit: float, what: str) -> float:
    """
    Look until *holds* does; for the states of other processes and files.

    Returns:
        The seconds that it took.

    Raises:
        TimeoutError: after *limit* seconds.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > limit:
            msg = f"after {limit} s still not: {what}"
            raise TimeoutError(msg)
        time.sleep(0.01)
    return time.monotonic() - began


class WorkerProcess:
    """
    One worker process.

    Args:
        setting: What it is told.
        log: The file that takes its standard error.
    """

    def __init__(self, setting: Setting, log: Path) -> None:
        self.setting = setting
        self.told: list[Told] = []
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-W", "error", "-m", setting.program),
                    msgspec.json.encode(setting).decode(),
                ],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.pid = self._process.pid
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):  # a killed process may leave half of one
                self.told.append(msgspec.json.decode(line, type=Told))

    def heard(self, what: str, status: str = "") -> list[Told]:
        """List what it has told of this kind so far."""
        return [
            told
            for told in self.told
            if told.what == what and (not status or told.status == status)
        ]

    def wait_for(self, what: str, status: str = "", *, count: int = 1, limit: float = 15.0) -> None:
        """Wait until it has told something *count* times."""
        wait_until(
            lambda: len(self.heard(what, status)) >= count,
            limit,
            f"{count} times {what} {status} from {self.pid}, but {self.told}",
        )

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; only as long as it is not waited for, so the id is still its own."""
        self._process.send_signal(number)

    def stop(self, *, unless: Callable[[], bool]) -> None:
        """Stop it, where *unless* does not hold: elsewhere it could hold up everybody."""
        self._stop()
        while unless():
            self.send(signal.SIGCONT)
            self._stop()

    def _stop(self) -> None:
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def wait(self, limit: float) -> int:
        """Wait for the end; answer the status, negative for a signal."""
        status = self._process.wait(limit)
        self._listener.join(limit)
        return status

    def kill(self) -> None:
        """End it at once, if it has not ended, and wait for that."""
        self._process.kill()
        self.wait(10.0)

    def close(self) -> None:
        """Leave nothing of it behind, stopped or not."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@attrs.define
class Crew:
    """The worker processes of one test, in *folder*."""

    folder: Path
    processes: list[WorkerProcess] = attrs.field(factory=list)

    @property
    def log(self) -> Path:
        """What the processes wrote to standard error."""
        return self.folder / "errors.log"

    def start(self, setting: Setting) -> WorkerProcess:
        """Start a process; it may not yet run when this returns."""
        process = WorkerProcess(setting, self.log)
        self.processes.append(process)
        return process

    def alive(self) -> list[WorkerProcess]:
        """List those that have not ended."""
        return [process for process in self.processes if process.alive]

    def terminate(self, limit: float) -> list[int]:
        """Have all end with SIGTERM; answer their statuses."""
        alive = self.alive()
        for process in alive:
            process.send(signal.SIGTERM)
        return [process.wait(limit) for process in alive]

    def close(self) -> None:
        """End what is left."""
        close_all(self.processes)


def close_all(processes: Iterable[WorkerProcess]) -> None:
    """End *processes*."""
    for process in processes:
        process.close()
