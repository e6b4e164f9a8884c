"""Rows that somebody wrote by hand: they harm their own task, and no other."""

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

import pytest

from layered.worker.builder import SettingsChange
from tests.faults.backends import on_sqlite
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import TASKS, Loop, Unit
from tests.faults.store_sqlite import SqliteStore
from tests.faults.work import LIMIT, stop

pytestmark = on_sqlite

REFUSED = "refused by the schema"


class Damage(NamedTuple):
    """A change of one row, and what becomes of its task: a state, or `REFUSED`."""

    change: str
    becomes: str


DAMAGES = {
    "payload that is no JSON": Damage("payload = x'ff00'", "dead"),
    "payload of another type": Damage("payload = '[]'", REFUSED),
    "payload of another form": Damage("payload = CAST('[1, 2]' AS BLOB)", "dead"),
    "payload that is empty": Damage("payload = x''", "dead"),
    "payload that is null": Damage("payload = NULL", REFUSED),
    "unknown codec": Damage("codec = 'pickle'", "dead"),
    "codec that is null": Damage("codec = NULL", REFUSED),
    "version that is text": Damage("version = 'new'", REFUSED),
    "metadata that is no JSON": Damage("metadata = '{no'", REFUSED),
    "metadata that is no text": Damage("metadata = x'ff'", REFUSED),
    "metadata that is no UTF-8": Damage("metadata = CAST(x'ff' AS TEXT)", REFUSED),
    "state too high": Damage("state = 99", REFUSED),
    "state below 0": Damage("state = -1", REFUSED),
    "state that is text": Damage("state = 'done'", REFUSED),
    "state that is null": Damage("state = NULL", REFUSED),
    "epoch below 0": Damage("epoch = -5", REFUSED),
    "epoch that cannot rise": Damage("epoch = 9223372036854775807", REFUSED),
    "epoch that is text": Damage("epoch = 'x'", REFUSED),
    "attempt that is text": Damage("attempt = 'x'", REFUSED),
    "attempt that cannot rise": Damage("attempt = 9223372036854775807", REFUSED),
    "lost that is text": Damage("lost = 'x'", REFUSED),
    "due that is text": Damage("due_at = 'now'", REFUSED),
    "due beyond the calendar": Damage("due_at = 9223372036854775807", "done"),
    "created that is text": Damage("created_at = 'now'", REFUSED),
    "expiry that is text": Damage("expires_at = 'now'", REFUSED),
    "expiry beyond the calendar": Damage("expires_at = -9223372036854775807", REFUSED),
    "errors that are no JSON": Damage("errors = '{no'", REFUSED),
    "running without a lease": Damage("state = 4", REFUSED),
    "running without an owner": Damage("state = 4, lease = 1, lease_until = 1", "done"),
    "ended without a time": Damage("state = 7, payload = x'ff'", "cancelled"),
}


def damage(store: SqliteStore) -> dict[int, str]:
    """Try every damage on a task of its own; answer what has become of those that were taken."""
    taken = {}
    for number, (change, becomes) in enumerate(DAMAGES.values()):
        try:
            store.query(f"UPDATE task SET {change} WHERE id = ?", store.numbers[number])  # noqa: S608
        except sqlite3.IntegrityError:
            continue
        taken[number] = becomes
    return taken


@pytest.mark.timeout(LIMIT + 30)
def test_damaged_rows_harm_no_other_task(
    store: SqliteStore, crew: Crew, loop: Loop, report: Callable[[str, str], None]
) -> None:
    """What no program could read is refused at once; the rest ends its own task, bytes kept."""
    store.push([Unit(n) for n in range(TASKS)])
    taken = damage(store)
    kept = dict(store.query("SELECT id, payload FROM task"))
    # All of these, and others, are lost by a worker: so reaping meets them, too.
    assert store.claim_for_nobody(2 * len(DAMAGES), lease=0.2) > len(taken)

    crew.start(store.setting(loop=loop, numbers=SettingsChange(lease=0.5)))
    wait_until(lambda: store.live() == 0, LIMIT, "all tasks ended")
    store.portal.call(store.storage.prune, 10)
    stop(crew)

    found = {name: taken.get(number, REFUSED) for number, name in enumerate(DAMAGES)}
    assert found == {name: one.becomes for name, one in DAMAGES.items()}
    rows = store.rows()
    assert {n: rows[n].state for n in taken} == taken
    assert {row.state for n, row in rows.items() if n not in taken} == {"done"}
    assert kept == dict(store.query("SELECT id, payload FROM task"))
    assert crew.processes[0].heard("TaskStale") == []
    dead = sum(becomes == "dead" for becomes in taken.values())
    report(
        "damaged rows",
        f"{TASKS:,} tasks, {len(DAMAGES)} kinds of damage: {len(DAMAGES) - len(taken)} refused "
        f"by the schema, {dead} dead with their bytes, {len(taken) - dead} harmless; "
        f"lost 0, others not done 0",
    )
