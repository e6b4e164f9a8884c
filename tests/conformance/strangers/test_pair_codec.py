"""A stranger's codec: one file, and one line that checks it."""

from collections.abc import Callable
from struct import Struct
from typing import Any

from layered.testing import check_codec


class Pairs:
    """Carries pairs of whole numbers, in 16 bytes each."""

    name = "pairs"

    def encoder(self, form: Any, /) -> Callable[[Any], bytes]:
        pair = self._of(form)
        return lambda value: pair.pack(*value)

    def decoder(self, form: Any, /) -> Callable[[bytes], Any]:
        return self._of(form).unpack

    def _of(self, form: Any) -> Struct:
        if form != tuple[int, int]:
            msg = f"pairs carry tuple[int, int], not {form!r}"
            raise TypeError(msg)
        return Struct("<qq")


def test_pairs_is_a_codec() -> None:
    """It keeps all the rules of codecs."""
    check_codec(Pairs(), {tuple[int, int]: [(0, 0), (1, -1), (2**62, 7)]}, refused=[str])
