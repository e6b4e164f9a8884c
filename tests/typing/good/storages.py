"""Storages: what they hold, how it is pushed and read."""

import logging
from datetime import UTC, datetime, timedelta
from typing import assert_type
from uuid import uuid4

import attrs

from layered import Kind, Limits, MemoryStorage, Pushed, Record, SqliteStorage, Storage

log = logging.getLogger("mail")


@attrs.frozen
class Email:
    to: str


@attrs.frozen
class Sms:
    number: str


async def push(storage: Storage[Email]) -> None:
    pushed = await storage.push(
        Email("ada@example.org"),
        id=uuid4(),
        delay=timedelta(minutes=5),
        expires_at=datetime.now(UTC),
        priority=9,
        max_attempts=5,
        max_lost=1,
        metadata={"tenant": "acme"},
    )
    assert_type(pushed, Pushed)
    await storage.push(Email("ada@example.org"), id="0", delay=2.5)
    await storage.push(Email("ada@example.org"), at=datetime.now(UTC))
    many = await storage.push_many([Email("a@example.org"), Email("b@example.org")], priority=1)
    assert_type(many[0].id, str)
    record = await storage.get(pushed.id)
    assert_type(record, Record | None)
    if record is not None:
        assert_type(record.result_as(list[int]), list[int])
    for each in await storage.wait_for([pushed.id], timeout=5):
        log.info("%s", each.status.label)


async def main() -> None:
    await push(MemoryStorage(Email, queue="mail", keep=100, limits=Limits(payload=1000)))
    async with SqliteStorage("tasks.db", Email) as storage:
        assert_type(storage, SqliteStorage[Email])
        await push(storage)
    async with SqliteStorage("tasks.db", Email | Sms) as both:
        await both.push(Sms("112"))
        await both.push(Email("ada@example.org"))
    async with SqliteStorage("tasks.db", Kind(Email, name="mail", version=2)) as renamed:
        await push(renamed)
    several = MemoryStorage[Email | Sms]((Kind(Email, name="mail"), Kind(Sms, name="text")))
    assert_type(several, MemoryStorage[Email | Sms])
    await several.push(Sms("112"))
