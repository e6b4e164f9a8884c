"""The processes of the demo: the mail server and the workers."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from typing import cast

import anyio
import anyio.abc
import attrs
from anyio.streams.text import TextReceiveStream

from examples.email_worker.faults import Fault

PACKAGE = "examples.email_worker"


@attrs.frozen
class ServerProcess:
    """The running mail server."""

    port: int
    _process: anyio.abc.Process
    _output: TextReceiveStream

    async def stop(self) -> Mapping[Fault, int]:
        """Stop the server; learn how often it made each fault."""
        self._process.terminate()
        last_line = "".join([text async for text in self._output])
        await self._process.wait()
        return {Fault(kind): count for kind, count in json.loads(last_line).items()}


@contextlib.asynccontextmanager
async def mail_server(ledger: pathlib.Path) -> AsyncIterator[ServerProcess]:
    """Run the mail server; it listens when this is entered, and is gone afterwards."""
    command = [sys.executable, "-m", f"{PACKAGE}.server", str(ledger)]
    # Leaving closes the server's standard input, which stops it in any case.
    async with await anyio.open_process(command, stderr=None) as process:
        output = TextReceiveStream(cast("anyio.abc.ByteReceiveStream", process.stdout))
        ready = await output.receive()
        yield ServerProcess(int(ready.removeprefix("ready ")), process, output)


@contextlib.asynccontextmanager
async def worker_process(folder: pathlib.Path, port: int) -> AsyncIterator[anyio.abc.Process]:
    """Run a worker; leaving waits for its end, and kills it only if cancelled."""
    command = [sys.executable, "-m", f"{PACKAGE}.worker", str(folder), str(port)]
    async with await anyio.open_process(
        command, stdin=subprocess.DEVNULL, stdout=None, stderr=None
    ) as process:
        yield process
