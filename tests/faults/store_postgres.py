"""The store on a PostgreSQL server."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import attrs
import psycopg
from anyio.from_thread import start_blocking_portal
from psycopg.types.string import TextLoader

from layered import PostgresStorage
from layered.backend import Limits
from tests.faults.setting import Ledger, PlainUnit, Setting, Unit
from tests.faults.store import SLACK, Store

AUDIT = """
CREATE TABLE audit (task uuid NOT NULL, what text NOT NULL);
CREATE TABLE effect (number integer NOT NULL);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF new.state = 5 THEN
        INSERT INTO audit VALUES (new.id, 'done');
    ELSIF old.state = 5 THEN
        INSERT INTO audit VALUES (new.id, 'undone');
    ELSIF old.state = 4 AND new.settled_op = 'reaped' THEN
        INSERT INTO audit VALUES (new.id, 'reaped');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER UPDATE OF state ON task FOR EACH ROW
WHEN (new.state = 5 OR old.state = 5 OR (old.state = 4 AND new.state <> 4))
EXECUTE FUNCTION note();
"""


@attrs.define
class PostgresStore(Store):
    """
    A store in a schema of its own.

    Questions are asked again for as long as the server is down.
    """

    modules: ClassVar = ("tests.faults.storages_postgres",)

    dsn: str
    schema: str
    _lease: float = 0.0
    _connection: psycopg.Connection[Any] | None = None

    def setting(self, **rest: Any) -> Setting:
        """Name server and schema; another *dsn* may lead through a proxy."""
        self._lease = max(self._lease, rest.get("numbers", {}).get("lease", 30.0))
        return Setting(str(self.folder), **{"dsn": self.dsn, "schema": self.schema, **rest})

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Look without layered."""
        text = sql.replace("%", "%%").replace("?", "%s") if values else sql
        end = time.monotonic() + 30.0
        while True:
            try:
                cursor = self._connected().execute(text.encode(), values or None)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                self.close()
                time.sleep(0.02)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = connect(self.dsn, self.schema)
        return self._connection

    def stuck(self) -> list[str]:
        """Ask the server's clock, by which leases go."""
        return [
            f"task {task} is stuck with {owner}"
            for task, owner in self.query(
                "SELECT id, owner FROM task WHERE state = 4 AND lease_until"
                " < (extract(epoch FROM clock_timestamp()) - ?::float) * 1000000",
                2 * self._lease + SLACK,
            )
        ]

    def locked(self) -> bool:
        """Look for open transactions."""
        return bool(self.sessions("state LIKE 'idle in transaction%'"))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the table."""
        with connect(self.dsn, self.schema) as connection, connection.transaction():
            connection.execute("LOCK TABLE task IN EXCLUSIVE MODE")
            yield

    def claims(self) -> int:
        """Count the claims of tasks so far."""
        return self.count("SELECT coalesce(sum(epoch), 0) FROM task")

    def damage(self) -> list[str]:
        """Read every byte of every row, and compare what an index finds."""
        rows = self.count("SELECT count(length(task::text)) FROM task")
        self.query("SET enable_seqscan = off")
        found = self.count("SELECT count(*) FROM task WHERE id IN (SELECT id FROM task)")
        self.query("RESET enable_seqscan")
        return [] if rows == found else [f"{rows} rows, of which an index finds {found}"]

    def size(self) -> int:
        """Measure the table, with its indexes and what was stored apart."""
        return self.count("SELECT pg_total_relation_size('task')")

    def reaped_from(self, pid: int) -> int:
        """Search the errors, which name the lost worker."""
        return self.count(
            "SELECT count(*) FROM task, unnest(errors) AS one WHERE one LIKE ?", f"%/{pid}/%"
        )

    def sessions(self, condition: str = "true") -> int:
        """Count the sessions of layered for which *condition* holds."""
        return self.count(
            "SELECT count(*) FROM pg_stat_activity"  # noqa: S608 - ours
            f" WHERE application_name LIKE 'layered%' AND {condition}"
        )

    def beside(self) -> PostgresStore:
        """Make another for a thread of its own, to ask questions."""
        return attrs.evolve(self, connection=None)

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(dsn: str, schema: str) -> psycopg.Connection[Any]:
    """Connect without layered; ids are text, as they are everywhere in the tests."""
    connection = psycopg.connect(
        dsn, autocommit=True, options=f"-c search_path={schema}", application_name="the tests"
    )
    connection.adapters.register_loader("uuid", TextLoader)
    return connection


@contextmanager
def opened(folder: Path, dsn: str, limits: Limits | None = None) -> Iterator[PostgresStore]:
    """Make a store with its audit on the server of *dsn*; nothing of it is left there."""
    schema = f"faults_{uuid.uuid4().hex}"
    storage = PostgresStorage(dsn, Unit | PlainUnit, schema=schema, limits=limits or Limits())
    with start_blocking_portal() as portal:
        try:
            with portal.wrap_async_context_manager(storage):
                with connect(dsn, schema) as connection:
                    connection.execute(AUDIT)
                store = PostgresStore(folder, storage, portal, Ledger(folder), dsn, schema)
                try:
                    yield store
                finally:
                    store.close()
        finally:
            drop(dsn, schema)


def drop(dsn: str, schema: str) -> None:
    """Remove a schema, and the sessions that would hold that up: of workers that were killed."""
    with suppress(psycopg.OperationalError), connect(dsn, schema) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'layered%'"
        )
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
