"""Control that does not fit."""

import attrs

from layered import Dedup, Filter, Inspector, MemoryStorage, Status, WorkerContext


@attrs.frozen
class Email:
    to: str


async def send(email: Email) -> str:
    return email.to


async def charge(amount: int) -> str:
    return str(amount)


def plain(amount: int) -> str:
    return str(amount)


async def handler(email: Email, ctx: WorkerContext) -> None:
    await ctx.once("charge", charge, email.to)  # E: takes an int
    await ctx.once("charge", charge)  # E: takes an argument
    await ctx.once("charge", plain, 5)  # E: no async function
    receipt: int = await ctx.once("charge", charge, 5)  # E: answers a text
    number: str = await ctx.checkpoint("number", int, 5)  # E: answers an int
    await ctx.checkpoint("number", 5)  # E: of which type?
    print(receipt, number)


async def main() -> None:
    storage = MemoryStorage(Email)
    result: int = await storage.result("0", send)  # E: answers a text
    await storage.result("0", 5)  # E: neither a handler nor a type
    await storage.result(send)  # E: of which task?
    print(result.bit_length())
    await storage.push(Email("ada"), dedup=5)  # E: a text or a Dedup
    await storage.push(Email("ada"), dedup=Dedup("ada", "keep"))  # E: an OnConflict
    inspector = Inspector(storage)
    await inspector.cancel_all()  # E: of which?
    await inspector.requeue_all("Email")  # E: a Filter
    await inspector.page(Filter(statuses=Status.DEAD))  # E: a list of them
    progress: float = await inspector.progress("0", float)  # E: there may be none
    print(progress)
