"""Group commit: what each of several callers is told, whatever befalls the others."""

from collections.abc import Callable, Sequence

import anyio
import anyio.lowlevel
import pytest

from layered.backends.postgres import groups
from layered.backends.postgres.groups import Groups
from layered.errors import BackendBroken, BackendError, Fatal, Full, PushRefused, Transient

Answers = Sequence[str]


class Store:
    """Stands for the server: notes what it is sent, and answers when it is let go."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.go_on = anyio.Event()
        self.fails: Callable[[Sequence[str]], Exception | None] = lambda _: None
        self.groups: Groups[str, str] = Groups(self.write, len)
        self.told: dict[str, object] = {}
        self.scopes: dict[str, anyio.CancelScope] = {}

    async def write(self, items: Sequence[str]) -> Answers:
        """Store items, or fail."""
        self.sent.append([*items])
        await self.go_on.wait()
        if error := self.fails(items):
            raise error
        return [item.upper() for item in items]

    async def call(self, items: str) -> None:
        """Write each letter, and note what is told."""
        with anyio.CancelScope() as self.scopes[items]:
            try:
                self.told[items] = "".join(await self.groups.write([*items]))
            except Exception as error:  # noqa: BLE001 - it is what is looked at
                self.told[items] = error

    async def meanwhile(self, *calls: str, leaves: str = "") -> None:
        """Write in tasks that come while "first" is written; one of them leaves meanwhile."""
        async with anyio.create_task_group() as tasks:
            for items in ("first", *calls):
                tasks.start_soon(self.call, items)
                await anyio.wait_all_tasks_blocked()
            if leaves:
                self.scopes[leaves].cancel()
            await anyio.wait_all_tasks_blocked()
            self.go_on.set()


async def test_groups_write_together_what_comes_meanwhile() -> None:
    """Each caller gets the answers to its own items, in order."""
    store = Store()

    await store.meanwhile("ab", "c", "def")

    assert store.sent == [[*"first"], [*"abcdef"]]
    assert store.told == {"first": "FIRST", "ab": "AB", "c": "C", "def": "DEF"}


@pytest.mark.parametrize("limit", ["MOST", "BYTES"])
async def test_groups_are_no_larger_than_their_limit(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """In items and in bytes, unless one caller brings more."""
    monkeypatch.setattr(groups, limit, 4)
    store = Store()

    await store.meanwhile("ab", "cd", "e", "fghijk")

    assert ["".join(sent) for sent in store.sent] == ["first", "abcd", "e", "fghijk"]
    assert [*store.told] == ["first", "ab", "cd", "e", "fghijk"]


@pytest.mark.parametrize("error", [Fatal("it is refused"), ValueError("no"), PushRefused("no")])
async def test_groups_fail_only_the_one_who_is_to_blame(error: Exception) -> None:
    """Where a group fails by what is in it, each is written by itself."""
    store = Store()
    store.fails = lambda items: error if "x" in items else None

    await store.meanwhile("ab", "x", "c")

    assert store.sent[1:] == [[*"abxc"], [*"ab"], ["x"], ["c"]]
    assert store.told == {"first": "FIRST", "ab": "AB", "x": error, "c": "C"}


@pytest.mark.parametrize("kind", [Transient, BackendBroken, Full])
async def test_groups_tell_all_when_the_store_is_in_trouble(kind: type[BackendError]) -> None:
    """One attempt is enough: each would fail by itself as well, one after the other."""
    store, error = Store(), kind("not now")
    store.fails = lambda items: error if "a" in items else None

    await store.meanwhile("ab", "c")

    assert store.sent[1:] == [[*"abc"]]
    assert store.told == {"first": "FIRST", "ab": error, "c": error}


async def test_groups_do_not_write_for_who_has_left_before_its_turn() -> None:
    """A push that was cancelled early has no effect."""
    store = Store()

    await store.meanwhile("ab", "c", leaves="ab")

    assert store.sent == [[*"first"], ["c"]]
    assert store.told == {"first": "FIRST", "c": "C"}


async def test_groups_write_for_the_others_when_their_leader_is_cancelled() -> None:
    """Who writes for others goes on, and leaves after that."""
    store, held = Store(), anyio.Event()

    async def write(items: Sequence[str]) -> Answers:
        store.sent.append([*items])
        await (store.go_on if items == [*"first"] else held).wait()
        return [item.upper() for item in items]

    store.groups = Groups(write, len)
    async with anyio.create_task_group() as tasks:
        for items in ("first", "ab", "c"):
            tasks.start_soon(store.call, items)
            await anyio.wait_all_tasks_blocked()
        store.go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert store.sent[1:] == [[*"abc"]]

        store.scopes["ab"].cancel()
        await anyio.wait_all_tasks_blocked()
        assert "c" not in store.told
        held.set()

    assert store.told["c"] == "C"


async def test_groups_write_for_the_others_when_one_of_them_has_left() -> None:
    """It was too late: what it pushed is stored."""
    store, held = Store(), anyio.Event()

    async def write(items: Sequence[str]) -> Answers:
        store.sent.append([*items])
        await (store.go_on if items == [*"first"] else held).wait()
        return [item.upper() for item in items]

    store.groups = Groups(write, len)
    async with anyio.create_task_group() as tasks:
        for items in ("first", "ab", "c", "d"):
            tasks.start_soon(store.call, items)
            await anyio.wait_all_tasks_blocked()
        store.go_on.set()
        await anyio.wait_all_tasks_blocked()

        store.scopes["c"].cancel()
        await anyio.wait_all_tasks_blocked()
        held.set()

    assert store.sent[1:] == [[*"abcd"]]
    assert store.told == {"first": "FIRST", "ab": "AB", "d": "D"}


async def test_groups_go_on_when_a_lone_writer_is_cancelled() -> None:
    """Its write is stopped, and the next one begins."""
    store = Store()

    await store.meanwhile("ab", leaves="first")

    assert store.sent == [[*"first"], [*"ab"]]
    assert store.told == {"ab": "AB"}
