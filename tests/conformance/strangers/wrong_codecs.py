"""Codecs with one fault each, by the rule of the suite that finds it."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

from layered import Codec, JsonCodec


class Wrong(JsonCodec):
    """JSON, to be spoiled in `encoded` or `decoded`."""

    def __init__(self) -> None:
        self.numbers = count()
        self.seen: dict[bytes, Any] = {}

    def encoder(self, form: Any, /) -> Callable[[Any], Any]:
        encode = super().encoder(form)
        return lambda value: self.encoded(encode, value)

    def decoder(self, form: Any, /) -> Callable[[bytes], Any]:
        decode = super().decoder(form)
        return lambda payload: self.decoded(decode, payload)

    def encoded(self, encode: Callable[[Any], bytes], value: Any) -> Any:
        return encode(value)

    def decoded(self, decode: Callable[[bytes], Any], payload: bytes) -> Any:
        return decode(payload)


class Renamed(Wrong):
    """Has another name each time it is asked."""

    name = property(lambda self: f"json-{next(self.numbers)}")


class Unprintable(Wrong):
    """Has a name that no store may see."""

    name = "js\non"


class Arrays(Wrong):
    """Encodes to what is not `bytes`, though it equals them."""

    def encoded(self, encode: Callable[[Any], bytes], value: Any) -> Any:
        return bytearray(encode(value))


class Untyped(Wrong):
    """Decodes to what JSON knows, whatever was wanted."""

    def decoder(self, form: Any, /) -> Callable[[bytes], Any]:
        super().decoder(form)
        return json.loads


class AsciiOnly(Wrong):
    """Loses what is not ASCII."""

    def encoded(self, encode: Callable[[Any], bytes], value: Any) -> Any:
        return encode(value).decode("ascii", "ignore").encode()


class Stamped(Wrong):
    """Puts a number in front that is never the same."""

    def encoded(self, encode: Callable[[Any], bytes], value: Any) -> Any:
        return b" " * next(self.numbers) + encode(value)


class Sorting(Wrong):
    """Sorts the lists that it is given."""

    def encoded(self, encode: Callable[[Any], bytes], value: Any) -> Any:
        payload = encode(value)
        if isinstance(value, list):
            value.reverse()
        return payload


class Unordered(Wrong):
    """Takes every payload for the one that it wrote last."""

    def encoded(self, encode: Callable[[Any], bytes], value: Any) -> Any:
        self.last = encode(value)
        return self.last

    def decoded(self, decode: Callable[[bytes], Any], payload: bytes) -> Any:
        return decode(self.last if payload.startswith(b"[") else payload)


class Caching(Wrong):
    """Remembers what it has decoded."""

    def decoded(self, decode: Callable[[bytes], Any], payload: bytes) -> Any:
        if payload not in self.seen:
            self.seen[payload] = decode(payload)
        return self.seen[payload]


class Lenient(Wrong):
    """Makes something of anything."""

    def decoder(self, form: Any, /) -> Callable[[bytes], Any]:
        decode = super().decoder(form)

        def decode_anything(payload: bytes) -> Any:
            try:
                return decode(payload)
            except ValueError:
                return form()

        return decode_anything


class Lazy(Wrong):
    """Looks at the type only when the first task comes."""

    def decoder(self, form: Any, /) -> Callable[[bytes], Any]:
        def decode(payload: bytes) -> Any:
            return JsonCodec().decoder(form)(payload)

        return decode


WRONG: list[tuple[str, Callable[[], Codec]]] = [
    ("has a name that stays", Renamed),
    ("has a name that stays", Unprintable),
    ("encodes to bytes", Arrays),
    ("carries values there and back", Untyped),
    ("carries every text", AsciiOnly),
    ("encodes a value always the same", Stamped),
    ("leaves the value as it was", Sorting),
    ("keeps payloads apart", Unordered),
    ("makes a new value each time", Caching),
    ("refuses bytes that do not fit", Lenient),
    ("refuses types when it is bound", Lazy),
]
