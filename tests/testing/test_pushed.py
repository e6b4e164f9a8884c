"""`assert_pushed`: what a program has pushed, on every storage."""

from pathlib import Path
from typing import TypedDict

import attrs
import pytest

from layered import Kind, Limits, MemoryStorage, SqliteStorage, Storage, WorkerBuilder
from layered.testing import assert_pushed, pushed
from tests.conformance.toy_backend import ToyStorage


@attrs.frozen
class Email:
    to: str
    urgent: bool = False


class Sms(TypedDict):
    number: str


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage[Email | Sms]:
    """Give a storage of two types."""
    if request.param == "memory":
        return MemoryStorage(Email | Sms)
    return SqliteStorage(tmp_path / "tasks.db", Email | Sms)


async def test_pushes_are_found_by_type_and_by_attributes(storage: Storage[Email | Sms]) -> None:
    """The first pushed comes first."""
    async with storage:
        await storage.push_many([Email("ada"), Email("bob", urgent=True), Sms(number="1")])
        await storage.push(Email("ada", urgent=True), delay=3600)

        assert await assert_pushed(storage, Email, to="bob") == [Email("bob", urgent=True)]
        assert await assert_pushed(storage, Email, to="ada") == [
            Email("ada"),
            Email("ada", urgent=True),
        ]
        assert await assert_pushed(storage, Sms, number="1") == [{"number": "1"}]
        assert len(await assert_pushed(storage, Email)) == 3
        assert await pushed(storage, Email, to="eve") == []


async def test_pushes_are_found_after_they_have_run(storage: Storage[Email | Sms]) -> None:
    """What was pushed stays pushed, whatever became of it."""

    async def work(args: Email | Sms) -> None: ...

    async with storage:
        await storage.push(Email("ada"))
        await WorkerBuilder("w").backend(storage).build(work).run(burst=True)

        assert await assert_pushed(storage, Email) == [Email("ada")]


async def test_what_is_left_of_pruned_tasks_is_not_found() -> None:
    """Their arguments are gone."""

    async def work(email: Email) -> None: ...

    storage = MemoryStorage(Email, limits=Limits(keep_done=0))
    ended = await storage.push(Email("ada"))
    await storage.push(Email("bob"), delay=3600)
    await WorkerBuilder("w").backend(storage).build(work).run(burst=True)

    await storage.prune(10)

    assert await storage.get(ended.id) is not None
    assert await pushed(storage, Email) == [Email("bob")]


async def test_pushes_are_found_page_by_page(storage: Storage[Email | Sms]) -> None:
    """All of them, each once, in order, and those of no other name."""
    many = [Email(str(number)) for number in range(1203)]
    async with storage:
        await storage.push_many(many)
        await storage.push(Sms(number="1"))

        assert await pushed(storage, Email) == many


async def test_a_missing_push_is_told_with_what_there_was(storage: Storage[Email | Sms]) -> None:
    """The message shows others of the type, a few of many."""
    async with storage:
        with pytest.raises(AssertionError, match=r"no Sms\(\) was pushed .*; none of that type"):
            await assert_pushed(storage, Sms)
        await storage.push_many([Email(str(number)) for number in range(7)])

        with pytest.raises(AssertionError) as caught:
            await assert_pushed(storage, Email, to="ada", urgent=True)

    assert str(caught.value).startswith(
        "no Email(to='ada', urgent=True) was pushed to queue 'default'; "
        "what was: Email(to='0', urgent=False), "
    )
    assert str(caught.value).endswith("Email(to='4', urgent=False) and 2 more")


async def test_an_attribute_that_the_arguments_lack_fits_nothing() -> None:
    """A misspelt name does not make the assertion hold."""
    storage: MemoryStorage[Email | Sms] = MemoryStorage(Email | Sms)
    await storage.push_many([Email("ada"), Sms(number="1")])

    assert await pushed(storage, Email, too="ada") == []
    assert await pushed(storage, Sms, to=None) == []


async def test_pushes_of_another_queue_are_not_found(tmp_path: Path) -> None:
    """A storage sees its own queue."""
    path = tmp_path / "tasks.db"
    async with (
        SqliteStorage(path, Email) as storage,
        SqliteStorage(path, Email, queue="other") as other,
    ):
        await other.push(Email("ada"))

        assert await pushed(storage, Email) == []
        assert await pushed(other, Email) == [Email("ada")]


async def test_a_type_that_the_storage_does_not_hold_is_refused() -> None:
    """It would otherwise never be found."""
    storage = MemoryStorage(Kind(Email, name="mail"))
    await storage.push(Email("ada"))

    assert await pushed(storage, Email) == [Email("ada")]
    with pytest.raises(TypeError, match=r"holds Email, got <class 'int'>"):
        await assert_pushed(storage, int)


async def test_a_storage_that_cannot_list_is_refused() -> None:
    """With the way out."""
    storage = ToyStorage(Email, lambda: 0.0, Limits())

    with pytest.raises(TypeError, match=r"cannot list its tasks; give it page\(\)"):
        await pushed(storage, Email)
