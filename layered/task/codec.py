"""How arguments travel: a `Codec` turns them into bytes, a `Kind` gives them name and version."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, Union, get_args, get_origin

import msgspec
from typing_extensions import is_typeddict

from layered.errors import DecodeFailed, PushRefused

if TYPE_CHECKING:
    from typing_extensions import TypeForm

A = TypeVar("A")

MAX_NAME = 200
"""Most characters in a task's name or a queue's name."""


class Codec(Protocol):
    """
    Turns values into bytes and back.

    `encoder` and `decoder` are asked once per type, when a storage or a
    worker is built; what they answer runs once per task.
    """

    @property
    def name(self) -> str:
        """Stored with each task: says how its bytes were made."""
        ...

    def encoder(self, form: TypeForm[A], /) -> Callable[[A], bytes]:
        """
        Answer the function that encodes values of *form*.

        Raises:
            TypeError: if the codec cannot carry *form*.
        """
        ...

    def decoder(self, form: TypeForm[A], /) -> Callable[[bytes], A]:
        """
        Answer the function that decodes to *form*; it raises on bytes that do not fit.

        Raises:
            TypeError: if the codec cannot carry *form*.
        """
        ...


class JsonCodec:
    """
    JSON by msgspec: attrs classes, dataclasses, TypedDicts, generics; validated at decoding.

    Source: https://jcristharif.com/msgspec/supported-types.html
    """

    __slots__ = ()
    name = "json"

    def encoder(self, form: TypeForm[A], /) -> Callable[[A], bytes]:
        """Answer msgspec's encoder."""
        del form
        return msgspec.json.Encoder().encode

    def decoder(self, form: TypeForm[A], /) -> Callable[[bytes], A]:
        """Answer msgspec's decoder for *form*."""
        return msgspec.json.Decoder(form).decode

    def __repr__(self) -> str:
        """Show the constructor."""
        return "JsonCodec()"


JSON = JsonCodec()

_WAY_OUT = "pass a type such as Email, or a union of types: Email | Sms"


class Kind(Generic[A]):
    """
    One type of arguments, and how it is stored.

    Args:
        form: The type: a class, or any type form that the codec carries.
        name: The task's name in the store; default the type's name. Set it
            to rename the class without orphaning stored tasks.
        version: Version of the payload; 1 to 2147483647. Raise it when older
            programs can no longer read the newer payload: they then leave
            such tasks to newer workers.
        codec: How the arguments become bytes.

    Raises:
        PushRefused: if *name* is empty, longer than 200 characters or has
            control characters, or *version* is out of range.
        TypeError: if the codec cannot carry *form*.
    """

    __slots__ = ("_decode", "codec", "encode", "form", "name", "version")

    def __init__(
        self, form: TypeForm[A], *, name: str | None = None, version: int = 1, codec: Codec = JSON
    ) -> None:
        self.form = form
        self.name = checked_name("task name", name if name is not None else form_name(form))
        if not 1 <= version < 1 << 31:
            msg = f"kind {self.name!r}: version must be 1 to 2147483647, got {version!r}"
            raise PushRefused(msg)
        self.version = version
        self.codec = codec
        self.encode = codec.encoder(form)
        try:
            self._decode = codec.decoder(form)
        except TypeError as error:
            msg = f"{form!r} cannot be the type of a task's arguments: {error}; {_WAY_OUT}"
            raise TypeError(msg) from error

    def decode(self, payload: bytes) -> A:
        """
        Decode stored bytes.

        Raises:
            DecodeFailed: if they do not fit; ``__cause__`` has the codec's error.
        """
        try:
            return self._decode(payload)
        except Exception as error:
            msg = f"decoding the arguments of task {self.name!r} as {self.form!r} failed: {error}"
            raise DecodeFailed(msg) from error

    def __repr__(self) -> str:
        """Show type, name and version."""
        return f"Kind({form_name(self.form)}, name={self.name!r}, version={self.version})"


class Kinds(Generic[A]):
    """
    The kinds of one storage, found by name (claiming) or by value (pushing).

    Args:
        args: A type, a union of types, a `Kind`, or a sequence of kinds.

    Raises:
        PushRefused: if two kinds have the same name.
        TypeError: if the codec cannot carry one of them.
    """

    __slots__ = ("_by_type", "by_name")

    def __init__(self, args: TypeForm[A] | Kind[A] | tuple[Kind[Any], ...]) -> None:
        self.by_name: dict[str, Kind[Any]] = {}
        self._by_type: dict[type, Kind[Any]] = {}
        for kind in _kinds(args):
            if kind.name in self.by_name:
                msg = (
                    f"two argument types have the task name {kind.name!r}; "
                    "give one another: Kind(Type, name=...)"
                )
                raise PushRefused(msg)
            self.by_name[kind.name] = kind
            self._by_type[_runtime_type(kind.form)] = kind

    def of(self, value: object) -> Kind[Any]:
        """
        Find the kind of *value*, by its type and then its bases.

        Raises:
            PushRefused: if there is none.
        """
        kind = self._by_type.get(type(value))
        if kind is None:
            kind = next((k for base, k in self._by_type.items() if isinstance(value, base)), None)
        if kind is None:
            known = ", ".join(form_name(kind.form) for kind in self)
            msg = f"pushing {value!r}: this storage takes {known}, got {type(value).__name__}"
            raise PushRefused(msg)
        return kind

    def __iter__(self) -> Iterator[Kind[Any]]:
        """Go through all kinds."""
        return iter(self.by_name.values())


def _kinds(args: Any) -> list[Kind[Any]]:  # noqa: ANN401 - a type form has no run-time type
    if isinstance(args, Kind):
        return [args]
    if isinstance(args, tuple):
        return [kind for each in args for kind in _kinds(each)]
    if get_origin(args) in {Union, types.UnionType}:
        return [Kind(form) for form in get_args(args)]
    return [Kind(args)]


def _runtime_type(form: object) -> type:
    base = get_origin(form) or form
    if is_typeddict(base):
        return dict  # of which its values are; no value is an instance of itself
    return base if isinstance(base, type) else object


def form_name(form: object) -> str:
    """Name a type form for people: the class's name, or the form as written."""
    return form.__name__ if isinstance(form, type) else str(form)


def checked_name(what: str, text: str) -> str:
    """
    Answer *text* if it can be a name in a store.

    Raises:
        PushRefused: if it is empty, longer than 200 characters, or has control characters.
    """
    if not text or not isinstance(text, str):
        msg = f"{what} must be a text of 1 to {MAX_NAME} characters, got {text!r}"
        raise PushRefused(msg)
    if len(text) > MAX_NAME:
        msg = f"{what} must have at most {MAX_NAME} characters, got {len(text)}: {text[:40]!r}..."
        raise PushRefused(msg)
    if not text.isprintable():
        msg = f"{what} must have no control characters, got {text!r}"
        raise PushRefused(msg)
    return text
