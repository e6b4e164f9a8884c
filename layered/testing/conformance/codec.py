"""
The codec suite: the rules that every `Codec` keeps, for codecs of your own.

In a plain test function, one line::

    def test_my_codec_is_a_codec() -> None:
        check_codec(MyCodec(), {Email: [Email("ada@example.org")], list[int]: [[], [1, 2]]})
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

import attrs

from layered.errors import DecodeFailed
from layered.task import Codec, Kind, checked_name, form_name
from layered.testing.conformance.rule import RuleBroken, Suite, equal, true

Form: TypeAlias = Any
"""A type form: a class, a union, a generic, whatever stands in an annotation."""

NO_FORM: Form = object()
"""No type, so nothing that a codec can carry."""

TEXTS = ("", "plain", "Grüße, 世界 \U0001f600", "\x00\x1f\x7f\u2028", "\\\"'</>&%\r\n", " \t ")

GARBAGE = (b"", b"\x00", b"\xff\xfe no codec wrote this \x80", b"[" * 100_000, b"\x80\x05N.")
"""Nothing, noise, a text cut short, a bomb of nesting, and a pickle."""


@attrs.frozen
class CodecSubject:
    """
    A codec to be checked, and what to check it with.

    Args:
        codec: The codec.
        values: Values to carry, by their type; 1 or more.
        refused: Types that it does not carry.
    """

    codec: Codec
    values: Mapping[Form, Sequence[Any]]
    refused: Sequence[Form] = ()

    def cases(self) -> Iterator[tuple[Any, Callable[[Any], bytes], Callable[[bytes], Any]]]:
        """Go through all values, each with a new encoder and a new decoder of its type."""
        for form, values in self.values.items():
            for value in values:
                yield value, self.codec.encoder(form), self.codec.decoder(form)


codec_rules: Suite[CodecSubject] = Suite("codec", virtual=False)
"""The rules that every codec keeps; iterate over them to make each a test of its own."""


def check_codec(
    codec: Codec, values: Mapping[Form, Sequence[Any]], /, *, refused: Sequence[Form] = ()
) -> None:
    """
    Check a codec against every rule.

    Args:
        codec: The codec.
        values: Values to carry, by their type: ``{Email: [Email("ada@example.org")]}``.
            They must be comparable and can be copied.
        refused: Types that it does not carry, to see that it says so in time.

    Raises:
        RuleBroken: if it breaks a rule; the message lists all that it breaks.
        ValueError: if there are no values.
        WrongState: if an event loop runs in this thread.
    """
    if not any(values.values()):
        msg = f"checking {codec!r}: no values are given; pass some: {{Email: [Email(...)]}}"
        raise ValueError(msg)
    # Nothing in a codec waits, so one event loop is as good as another.
    codec_rules.check(CodecSubject(codec, values, refused), loops=["asyncio"])


@codec_rules.rule
async def has_a_name_that_stays(subject: CodecSubject) -> None:
    """`name` is stored with each task: a text of 1 to 200 printable characters, always the same."""
    name = subject.codec.name

    equal(checked_name("codec name", name), subject.codec.name, "the name when asked again")


@codec_rules.rule
async def encodes_to_bytes(subject: CodecSubject) -> None:
    """A payload is `bytes`, nothing like it: stores keep it as it is."""
    for value, encode, _ in subject.cases():
        payload = encode(value)
        true(type(payload) is bytes, f"{value!r} is encoded to bytes, and not {payload!r}")


@codec_rules.rule
async def carries_values_there_and_back(subject: CodecSubject) -> None:
    """What is decoded equals what was encoded, and is of the same type."""
    for value, encode, decode in subject.cases():
        found = decode(encode(value))
        equal((found, type(found)), (value, type(value)), "what came back")


@codec_rules.rule
async def carries_every_text(subject: CodecSubject) -> None:
    """If it carries `str`, then any: empty, of any script, with control characters."""
    try:
        encode, decode = subject.codec.encoder(str), subject.codec.decoder(str)
    except TypeError:
        return
    for text in TEXTS:
        equal(decode(encode(text)), text, "the text that came back")


@codec_rules.rule
async def encodes_a_value_always_the_same(subject: CodecSubject) -> None:
    """The same value gives the same bytes, from this encoder and from another."""
    for value, encode, _ in subject.cases():
        payload = encode(value)
        equal(encode(value), payload, f"{value!r} encoded again")
    again = [encode(value) for value, encode, _ in subject.cases()]
    equal([encode(value) for value, encode, _ in subject.cases()], again, "by other encoders, all")


@codec_rules.rule
async def leaves_the_value_as_it_was(subject: CodecSubject) -> None:
    """Encoding changes nothing in its argument: the caller goes on with it."""
    for value, encode, _ in subject.cases():
        before = deepcopy(value)
        encode(value)
        equal(value, before, "the argument afterwards")


@codec_rules.rule
async def keeps_payloads_apart(subject: CodecSubject) -> None:
    """A payload can be decoded whatever else was encoded or decoded since, in any order."""
    carried = [(value, encode(value)) for value, encode, _ in subject.cases()]
    decoders = [decode for *_, decode in subject.cases()]

    for (value, payload), decode in reversed([*zip(carried, decoders, strict=True)]):
        equal(decode(payload), value, "what came back")


@codec_rules.rule
async def makes_a_new_value_each_time(subject: CodecSubject) -> None:
    """A payload decoded again is another object: what a first run did to its arguments is gone."""
    for value, encode, decode in subject.cases():
        if type(value).__hash__ is None:  # what can be changed has no hash
            payload = encode(value)
            true(decode(payload) is not decode(payload), f"{value!r} is made anew each time")


@codec_rules.rule
async def refuses_bytes_that_do_not_fit(subject: CodecSubject) -> None:
    """Bytes that it did not write raise an `Exception`, unless they mean a value of the type."""
    for form in subject.values:
        kind: Kind[Any] = Kind(form, name="sample", codec=subject.codec)
        for payload in GARBAGE:
            try:
                found = kind.decode(payload)
            except DecodeFailed:
                continue
            what = f"{payload[:40]!r} is refused as {form_name(form)}, and not taken for {found!r}"
            true(kind.encode(found) == payload, what)


@codec_rules.rule
async def refuses_types_when_it_is_bound(subject: CodecSubject) -> None:
    """A type that it cannot carry is a `TypeError` of `encoder` or `decoder`, before any task."""
    for form in (NO_FORM, *subject.refused):
        try:
            subject.codec.encoder(form)
            subject.codec.decoder(form)
        except TypeError:
            continue
        msg = f"encoder() and decoder() must raise TypeError for {form!r}; they raised nothing"
        raise RuleBroken(msg)
