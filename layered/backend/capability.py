"""What a storage can do besides: asked for where it is used, refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from layered.errors import LayeredError

if TYPE_CHECKING:
    from typing_extensions import TypeForm

C = TypeVar("C")


class Incapable(LayeredError, TypeError):
    """
    A storage lacks the capability that an operation needs; nothing was done.

    Args:
        what: What was asked for.
        storage: The storage, as it shows itself.
        capability: The protocol of `layered.backend` that it does not have.
    """

    def __init__(self, what: str, storage: str, capability: str) -> None:
        super().__init__(what, storage, capability)
        self.what = what
        self.storage = storage
        self.capability = capability

    def __str__(self) -> str:
        """Name operation, storage and capability."""
        return (
            f"{self.what}: {self.storage} cannot do that, it lacks the capability "
            f"{self.capability!r} (layered.backend.{self.capability})"
        )


def having(storage: object, capability: TypeForm[C], what: str) -> C:
    """
    Answer *storage* as one that has a capability.

    Args:
        storage: A backend.
        capability: A protocol that can be checked at run time, such as `Cancels`.
        what: What is asked for, to begin the message with.

    Raises:
        Incapable: if it does not have it.
    """
    protocol: Any = capability
    if not isinstance(storage, protocol):
        raise Incapable(what, repr(storage), protocol.__name__)
    able: Any = storage
    return able  # type: ignore[no-any-return]
