"""What the server knows of the sessions of a test."""

from __future__ import annotations

from typing import Any

import anyio
import psycopg


class Sessions:
    """The sessions whose application names have *part*; seen by a session of its own."""

    def __init__(self, dsn: str, part: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._part = f"%{part}%"

    def close(self) -> None:
        """End its own session."""
        self._connection.close()

    def states(self) -> dict[int, str]:
        """List the states of the sessions, by process id."""
        query = "SELECT pid, state FROM pg_stat_activity WHERE application_name LIKE %s"
        return dict(self._connection.execute(query, (self._part,)).fetchall())

    def terminate(self) -> int:
        """Have the server end the sessions; answer how many, when they are gone."""
        query = """
            SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
            WHERE application_name LIKE %s
        """
        ((count,),) = self._connection.execute(query, (self._part,)).fetchall()
        return int(count)

    async def until(self, *states: str) -> None:
        """Wait until the sessions have these states."""
        with anyio.fail_after(10):
            while sorted(self.states().values()) != sorted(states):  # noqa: ASYNC110 - in the server
                await anyio.sleep(0.01)

    def ask(self, query: Any, *values: object) -> Any:
        """Answer the one value of a query."""
        ((value,),) = self._connection.execute(query, values).fetchall()
        return value
