import sys

import anyio
import pytest

from layered import Service, map_error, map_request, map_response, service_fn
from layered.service.contract import Middleware, Transform


async def double(number: int) -> int:
    """Answer twice the number; 13 fails."""
    if number == 13:
        raise LookupError(number)
    await anyio.lowlevel.checkpoint()
    return 2 * number


class Busy(Middleware[int, int]):
    """Has room for three, and remembers whether it was asked."""

    asked = False

    async def ready(self) -> None:
        self.asked = True

    def capacity(self) -> int:
        return 3


async def test_service_fn_is_a_service_that_is_always_ready() -> None:
    """Its capacity is unlimited."""
    service = service_fn(double)

    await service.ready()

    assert await service.call(2) == 4
    assert service.capacity() == sys.maxsize
    assert repr(service) == "service_fn(double)"


async def test_map_request_changes_what_the_inner_service_sees() -> None:
    """From one type to another."""
    service: Service[str, int] = map_request(int)(service_fn(double))

    assert await service.call("21") == 42


async def test_map_request_raises_its_own_error_before_the_inner_service_is_touched() -> None:
    """A request that cannot be changed is not started."""
    called = []

    async def note(number: int) -> None:
        called.append(number)

    with pytest.raises(ValueError, match="invalid literal"):
        await map_request(int)(service_fn(note)).call("x")

    assert called == []


async def test_map_response_changes_what_the_inner_service_answers() -> None:
    """From one type to another."""
    service: Service[int, str] = map_response(str)(service_fn(double))

    assert await service.call(21) == "42"


async def test_map_error_raises_the_new_error_from_the_old_one() -> None:
    """The cause is kept."""

    def change(error: Exception) -> Exception:
        return OSError(f"store: {error}")

    with pytest.raises(OSError, match="store: 13") as caught:
        await map_error(change)(service_fn(double)).call(13)

    assert isinstance(caught.value.__cause__, LookupError)


async def test_map_error_leaves_an_error_that_is_not_changed() -> None:
    """The same object, without a cause of its own."""
    with pytest.raises(LookupError) as caught:
        await map_error(lambda error: error)(service_fn(double)).call(13)

    assert caught.value.__cause__ is None


@pytest.mark.virtual_time
async def test_map_error_passes_cancellation() -> None:
    """It is no error to be changed."""
    service = map_error(lambda _: ValueError("changed"))(service_fn(anyio.sleep))

    with anyio.move_on_after(1) as scope:
        await service.call(60)

    assert scope.cancelled_caught


async def test_combinators_pass_readiness_and_capacity_on() -> None:
    """They hold nothing back themselves."""
    for combinator in (
        map_request(lambda number: number),
        map_response(lambda number: number),
        map_error(lambda error: error),
        Middleware,
        Transform,
    ):
        inner = Busy(service_fn(double))
        service = combinator(inner)

        await service.ready()

        assert inner.asked
        assert service.capacity() == 3


def test_combinators_show_their_functions() -> None:
    """As layers, and as services with what they wrap."""
    assert map_request(double).__qualname__ == "map_request(double)"
    assert repr(map_response(str)(service_fn(double))) == "MapResponse(service_fn(double))"
