"""Lists as PostgreSQL's arrays: quicker to make than psycopg's own, which look at each element."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import ClassVar

from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

_HEAD = struct.Struct("!iiIii")
_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)


def plain(items: Iterable[object]) -> str:
    """Write numbers, UUIDs or truth values, `None` among them, as text for ``::type[]``."""
    return "{" + ",".join(["NULL" if item is None else str(item) for item in items]) + "}"


class Blobs(tuple[bytes | None, ...]):
    """A ``bytea[]``."""

    __slots__ = ()
    element: ClassVar[int] = 17


class Texts(tuple[bytes | None, ...]):
    """A ``text[]``, its elements in UTF-8."""

    __slots__ = ()
    element: ClassVar[int] = 25

    @classmethod
    def of(cls, items: Iterable[str | None]) -> Texts:
        """Encode the elements."""
        return cls(None if item is None else item.encode() for item in items)


class _PackedDumper(Dumper):
    """Source: ``array_recv`` and ``array_send`` of PostgreSQL: dimensions, null flag, type."""

    format = Format.BINARY

    def dump(self, obj: Blobs | Texts) -> Buffer:
        parts = [_HEAD.pack(1, None in obj, obj.element, len(obj), 1)]
        pack = _LENGTH.pack
        for item in obj:
            if item is None:
                parts.append(_NULL)
            else:
                parts += (pack(len(item)), item)
        return b"".join(parts)


class _BlobsDumper(_PackedDumper):
    oid = 1001


class _TextsDumper(_PackedDumper):
    oid = 1009


def register(adapters: AdaptersMap) -> None:
    """Have a connection take these lists as parameters."""
    adapters.register_dumper(Blobs, _BlobsDumper)
    adapters.register_dumper(Texts, _TextsDumper)
