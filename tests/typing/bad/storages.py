"""Pushes that the storage does not take."""

import attrs

from layered import MemoryStorage


@attrs.frozen
class Email:
    to: str


@attrs.frozen
class Sms:
    number: str


async def main() -> None:
    storage = MemoryStorage(Email)
    await storage.push(Sms("112"))  # E: holds Email
    await storage.push("ada@example.org")  # E: the arguments' type itself
    await storage.push(Email("ada@example.org"), delay="5 s")  # E: seconds
    await storage.push(Email("ada@example.org"), dely=5)  # E: misspelt
    await storage.push_many([Email("ada@example.org"), Sms("112")])  # E: one of them is no Email
    record = await storage.get("0")
    print(record.status)  # E: there may be none
    pushed = await storage.push(Email("ada@example.org"))
    print(pushed.task_id)  # E: it is called id
