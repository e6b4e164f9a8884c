"""Lists on their way to the server and back."""

from typing import Any, LiteralString
from uuid import UUID

from hypothesis import given, settings, strategies as st

from layered.backends.postgres.arrays import Blobs, Texts, plain
from layered.backends.postgres.connection import Connection

FEW = settings(max_examples=50)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
"""What a text of PostgreSQL may have."""
ODD = st.sampled_from(["", "NULL", "null", "{", '"', "\\", ",", "%s", "\U0001f600", "é\n\t\r", "'"])


async def back(connection: Connection, kind: LiteralString, value: object) -> Any:
    """Send a list, and have it sent back."""
    ((found,),) = await (await connection.execute(f"SELECT %s::{kind}", (value,))).fetchall()
    return found


@FEW
@given(items=st.lists(st.none() | st.binary()))
async def test_blobs_come_back(connection: Connection, items: list[bytes | None]) -> None:
    """Any bytes, none and no bytes told apart; an empty list is a list."""
    assert await back(connection, "bytea[]", Blobs(items)) == items


@FEW
@given(items=st.lists(st.none() | TEXT | ODD))
async def test_texts_come_back(connection: Connection, items: list[str | None]) -> None:
    """Any text that a server can keep, quotes and backslashes among them."""
    assert await back(connection, "text[]", Texts.of(items)) == items


@FEW
@given(items=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
async def test_numbers_come_back(connection: Connection, items: list[int | None]) -> None:
    """As far as 64 bits go."""
    assert await back(connection, "bigint[]", plain(items)) == items


@FEW
@given(items=st.lists(st.none() | st.uuids()))
async def test_ids_come_back(connection: Connection, items: list[UUID | None]) -> None:
    """As text, of which the server makes UUIDs."""
    assert await back(connection, "uuid[]", plain(items)) == items


async def test_truth_values_come_back(connection: Connection) -> None:
    """In the words that the server reads."""
    assert await back(connection, "boolean[]", plain([True, None, False])) == [True, None, False]


async def test_blobs_larger_than_a_socket_takes_at_once_come_back(connection: Connection) -> None:
    """Writing waits for the server to read, and reading for it to write: 100 results of 1 MiB."""
    items = [bytes([number]) * (1 << 20) for number in range(100)]

    assert await back(connection, "bytea[]", Blobs(items)) == items
