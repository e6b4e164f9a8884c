"""The server has no room left on its disk (SQLSTATE 53100), and then some again."""

import time
from collections.abc import Callable

import pytest

from layered.errors import Full
from layered.worker.builder import SettingsChange
from tests.faults.backends import on_postgres
from tests.faults.processes import Crew, wait_until
from tests.faults.setting import TASKS, Loop, Unit
from tests.faults.store import Row
from tests.faults.store_postgres import PostgresStore
from tests.faults.work import LIMIT, broken, held, stop

pytestmark = on_postgres

HELD = 20
"""Tasks that run while the disk fills up, and end while it is full."""
SECONDS = 3.0
"""How long there is no room."""
RECOVERY = 5.0

# Raised as the server raises it, for every write: a disk that is full to the last byte in truth
# stops the server altogether as soon as its log needs a new file.
DISK = """
CREATE TABLE ballast ();
CREATE FUNCTION extend() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM ballast) THEN
        RAISE disk_full USING MESSAGE = 'could not extend file: No space left on device';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER extend BEFORE INSERT OR UPDATE ON task FOR EACH STATEMENT EXECUTE FUNCTION extend();
"""


@pytest.mark.timeout(LIMIT + 30)
def test_a_server_without_room_is_waited_out(
    store: PostgresStore, crew: Crew, loop: Loop, report: Callable[[str, str], None]
) -> None:
    """A push says Full; what ends meanwhile is written when there is room; no lease is lost."""
    store.query(DISK)
    store.push([Unit(n, "hold") for n in range(HELD)])
    store.push([Unit(n, seconds=0.005) for n in range(HELD, TASKS)])
    numbers = SettingsChange(concurrency=2 * HELD)
    tell = ("TaskEnded", "TaskStale", "BackendTroubled")
    worker = crew.start(store.setting(loop=loop, numbers=numbers, tell=tell))
    wait_until(lambda: store.done() > TASKS // 8, LIMIT, "some are done")

    store.query("INSERT INTO ballast DEFAULT VALUES")
    with pytest.raises(Full):
        store.push([Unit(TASKS)])
    store.ledger.gate(1).touch()
    worker.wait_for("BackendTroubled", count=2)
    time.sleep(SECONDS / 2)  # what had begun before is written
    done = store.done()
    time.sleep(SECONDS / 2)
    assert store.done() == done
    store.query("DELETE FROM ballast")
    recovered = wait_until(lambda: store.done() > done, LIMIT, "work goes on")
    store.push([Unit(TASKS)])
    wait_until(lambda: store.live() == 0, LIMIT, "all tasks ended")
    stop(crew)

    assert recovered <= RECOVERY
    assert set(store.rows().values()) == {Row("done", 1, 0, 1)}
    assert broken(store, crew, extra=0) == []
    report(
        f"no room (53100), {loop}",
        f"{held(store)}, pushes refused as Full for {SECONDS:g} s, leases lost 0, work goes on "
        f"after {recovered:.1f} s",
    )
