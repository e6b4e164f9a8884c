"""`MockService`: what its handle sees and does, and that it keeps the service contract."""

import sys
from functools import partial

import anyio
import anyio.abc
import pytest
from anyio.lowlevel import checkpoint

from layered import ConcurrencyLimitLayer, Elapsed, RetryLayer, TimeoutLayer, WrongState
from layered.testing import MockClosed, MockHandle, MockService


async def settled() -> None:
    """Let every other task go on as far as it can."""
    await anyio.wait_all_tasks_blocked()


class Caller:
    """Calls a service in tasks of their own, and keeps what came of it."""

    def __init__(self, service: MockService[str, int]) -> None:
        self.service = service
        self.answers: dict[str, object] = {}
        self.ready = 0

    async def call(
        self, request: str, *, task_status: anyio.abc.TaskStatus[anyio.CancelScope]
    ) -> None:
        """Call once; give the scope that cancels it."""
        with anyio.CancelScope() as scope:
            task_status.started(scope)
            try:
                self.answers[request] = await self.service.call(request)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.answers[request] = error

    async def wait_ready(self) -> None:
        """Wait for `ready` once, and count it."""
        await self.service.ready()
        self.ready += 1


async def test_mock_hands_over_the_request_and_answers_the_response() -> None:
    """The first thing that a mock is for."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)

    async with anyio.create_task_group() as group:
        await group.start(caller.call, "one")
        call = await handle.next_request()
        assert call.request == "one"
        assert caller.answers == {}
        call.send_response(1)

    assert caller.answers == {"one": 1}


async def test_mock_raises_the_error_that_was_sent() -> None:
    """The same object, as a layer must pass it on."""
    service, handle = MockService[str, int].pair()
    caller, error = Caller(service), ConnectionError("hung up")

    async with anyio.create_task_group() as group:
        await group.start(caller.call, "one")
        (await handle.next_request()).send_error(error)

    assert caller.answers["one"] is error


async def test_mock_answers_none_and_errors_as_values_like_any_response() -> None:
    """A response may be whatever a service answers."""
    service, handle = MockService[str, object].pair()
    value, found = ValueError("a value"), list[object]()

    async def call() -> None:
        found.append(await service.call("one"))

    for response in (None, value):
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            (await handle.next_request()).send_response(response)

    assert found == [None, value]


async def test_mock_gives_requests_in_the_order_of_their_calls_and_answers_in_any() -> None:
    """Each call is given once, and has its own answer."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)

    async with anyio.create_task_group() as group:
        for request in ("one", "two", "three"):
            await group.start(caller.call, request)
            await settled()
        assert handle.pending == 3
        calls = [await handle.next_request() for _ in range(3)]
        assert handle.pending == 0
        for number, call in reversed(list(enumerate(calls, 1))):
            call.send_response(number)

    assert [call.request for call in calls] == ["one", "two", "three"]
    assert caller.answers == {"one": 1, "two": 2, "three": 3}


async def test_mock_is_unlimited_until_something_is_allowed() -> None:
    """A mock that only answers needs no allowing; allowing everything is the way back."""
    service, handle = MockService[str, int].pair()

    before = service.capacity()
    await service.ready()
    handle.allow(2)
    limited = service.capacity()
    handle.allow(sys.maxsize)

    assert (before, limited, service.capacity()) == (sys.maxsize, 2, sys.maxsize)


async def test_mock_stays_unlimited_when_called() -> None:
    """`sys.maxsize` is no number to count down."""
    service, handle = MockService[str, int].pair()

    async with anyio.create_task_group() as group:
        await group.start(Caller(service).call, "one")
        (await handle.next_request()).send_response(1)

    assert service.capacity() == sys.maxsize


async def test_mock_counts_calls_and_not_answers() -> None:
    """As with tower's: what is allowed is used up by a call that begins."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)
    handle.allow(2)

    async with anyio.create_task_group() as group:
        await group.start(caller.call, "one")
        (await handle.next_request()).send_response(1)
        await settled()
        assert service.capacity() == 1
        await group.start(caller.call, "two")
        (await handle.next_request()).send_response(2)

    assert service.capacity() == 0


async def test_mock_lets_calls_over_what_is_allowed_wait_first_come_first_served() -> None:
    """`call` is always safe; those that wait count among those allowed next."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)
    handle.allow(0)

    async with anyio.create_task_group() as group:
        for request in ("one", "two", "three"):
            await group.start(caller.call, request)
            await settled()
        assert (handle.waiting, handle.pending) == (3, 0)
        handle.allow(2)
        assert service.capacity() == 0
        assert handle.waiting == 1
        first, second = await handle.next_request(), await handle.next_request()
        handle.allow(5)
        third = await handle.next_request()
        assert service.capacity() == 4
        group.cancel_scope.cancel()

    assert [first.request, second.request, third.request] == ["one", "two", "three"]


async def test_mock_passes_the_turn_of_a_cancelled_caller_on() -> None:
    """Whoever was given a turn and is cancelled in the same moment leaks nothing."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)
    handle.allow(0)

    async with anyio.create_task_group() as group:
        scopes = []
        for request in ("one", "two"):
            scopes.append(await group.start(caller.call, request))
            await settled()
        scopes[0].cancel()
        handle.allow(1)
        await settled()
        call = await handle.next_request()
        call.send_response(2)

    assert call.request == "two"
    assert caller.answers == {"two": 2}
    assert (service.capacity(), handle.waiting) == (0, 0)


async def test_mock_keeps_the_turn_of_a_cancelled_caller_when_nobody_else_waits() -> None:
    """It is free again, and `ready` tells."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)
    handle.allow(0)

    async with anyio.create_task_group() as group:
        scope = await group.start(caller.call, "one")
        await settled()
        scope.cancel()
        handle.allow(1)
        group.start_soon(caller.wait_ready)

    assert service.capacity() == 1
    assert caller.ready == 1


async def test_mock_forgets_a_caller_that_is_cancelled_while_it_waits() -> None:
    """It takes no turn, and the test never sees its request."""
    service, handle = MockService[str, int].pair()
    handle.allow(0)

    async with anyio.create_task_group() as group:
        scope = await group.start(Caller(service).call, "one")
        await settled()
        scope.cancel()
    handle.allow(1)

    assert (handle.waiting, handle.pending, service.capacity()) == (0, 0, 1)


async def test_mock_ready_waits_until_something_is_allowed_and_wakes_all() -> None:
    """Three wait for one place: all are told, nothing is reserved."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)
    handle.allow(0)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(caller.wait_ready)
        await settled()
        assert caller.ready == 0
        handle.allow(1)

    assert caller.ready == 3
    assert service.capacity() == 1


async def test_mock_ready_lets_callers_go_first() -> None:
    """What is allowed goes to those inside `call`; `ready` waits on."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)
    handle.allow(0)

    async with anyio.create_task_group() as group:
        group.start_soon(caller.wait_ready)
        await settled()
        await group.start(caller.call, "one")
        await settled()
        handle.allow(1)
        await settled()
        assert (caller.ready, handle.pending) == (0, 1)
        group.cancel_scope.cancel()


async def test_mock_ready_is_cancelled_at_no_cost() -> None:
    """Nothing was reserved, so nothing is lost."""
    service, handle = MockService[str, int].pair()
    handle.allow(0)

    async with anyio.create_task_group() as group:
        group.start_soon(service.ready)
        await settled()
        group.cancel_scope.cancel()
    handle.allow(1)

    await service.ready()
    assert service.capacity() == 1


async def test_mock_ready_raises_a_sent_error_once_and_calls_go_on() -> None:
    """The same object for one who asks; the next one finds the service as it was."""
    service, handle = MockService[str, int].pair()
    error = ConnectionError("down")
    handle.send_ready_error(error)

    async with anyio.create_task_group() as group:
        await group.start(Caller(service).call, "one")
        (await handle.next_request()).send_response(1)
    with pytest.raises(ConnectionError) as raised:
        await service.ready()
    await service.ready()

    assert raised.value is error


async def test_mock_ready_raises_an_error_sent_while_it_waits_to_one_of_several() -> None:
    """The others wait on."""
    service, handle = MockService[str, int].pair()
    handle.allow(0)
    errors: list[Exception] = []

    async def ask() -> None:
        try:
            await service.ready()
        except ConnectionError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
        await settled()
        handle.send_ready_error(ConnectionError("down"))
        await settled()
        assert len(errors) == 1
        handle.allow(1)

    assert len(errors) == 1


async def test_mock_call_tells_that_its_caller_has_gone() -> None:
    """A test of a timeout looks at this; an answer that comes too late goes nowhere."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)

    async with anyio.create_task_group() as group:
        scope = await group.start(caller.call, "one")
        call = await handle.next_request()
        assert not call.cancelled
        scope.cancel()
        await settled()
        assert call.cancelled
        call.send_response(1)

    assert caller.answers == {}


async def test_mock_gives_a_call_that_was_cancelled_before_it_was_taken() -> None:
    """The inner service was called, whatever came of it: a test must be able to see that."""
    service, handle = MockService[str, int].pair()

    async with anyio.create_task_group() as group:
        scope = await group.start(Caller(service).call, "one")
        await settled()
        scope.cancel()
    call = await handle.next_request()

    assert call.request == "one"
    assert call.cancelled


async def test_mock_next_request_is_cancelled_at_no_cost() -> None:
    """The call is still there for the next one who asks."""
    service, handle = MockService[str, int].pair()

    with anyio.move_on_after(0):
        await handle.next_request()
    async with anyio.create_task_group() as group:
        await group.start(Caller(service).call, "one")
        (await handle.next_request()).send_response(1)

    assert handle.pending == 0


async def test_mock_call_refuses_a_second_answer() -> None:
    """A test that answers twice has lost count."""
    service, handle = MockService[str, int].pair()

    async with anyio.create_task_group() as group:
        await group.start(Caller(service).call, "one")
        call = await handle.next_request()
        call.send_response(1)

    with pytest.raises(WrongState, match=r"answering MockCall\('one'\): it was answered before"):
        call.send_response(2)
    with pytest.raises(WrongState, match=r"answering MockCall\('one'\)"):
        call.send_error(ValueError())


def test_mock_refuses_to_allow_less_than_nothing() -> None:
    """A sign is a slip."""
    _, handle = MockService[str, int].pair()

    with pytest.raises(ValueError, match="allowing -1 calls: it must be 0 or more"):
        handle.allow(-1)


async def test_mock_is_closed_for_whoever_waits() -> None:
    """A call before its turn, one that has begun, `ready`, and the test itself."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)
    found: list[object] = []

    async def note(handle: MockHandle[str, int] | None = None) -> None:
        try:
            await (handle.next_request() if handle else service.ready())
        except MockClosed as error:
            found.append(error)

    async with anyio.create_task_group() as group:
        await group.start(caller.call, "begun")
        await handle.next_request()
        handle.allow(0)
        await group.start(caller.call, "waits")
        group.start_soon(note)
        group.start_soon(note, handle)
        await settled()
        handle.close()

    assert [type(each) for each in caller.answers.values()] == [MockClosed, MockClosed]
    assert len(found) == 2


async def test_mock_is_closed_for_whoever_comes_later() -> None:
    """The message says who did it."""
    service, handle = MockService[str, int].pair()
    handle.close()

    for ask in (partial(service.call, "one"), service.ready, handle.next_request):
        with pytest.raises(MockClosed, match=r"the test called MockHandle\.close"):
            await ask()


async def test_mock_delivers_what_was_answered_before_it_was_closed() -> None:
    """Closing takes no answer back."""
    service, handle = MockService[str, int].pair()
    caller = Caller(service)

    async with anyio.create_task_group() as group:
        await group.start(caller.call, "one")
        (await handle.next_request()).send_response(1)
        handle.close()

    assert caller.answers == {"one": 1}


async def test_mock_forgets_calls_that_are_over() -> None:
    """A mock that lives long keeps nothing of them."""
    service, handle = MockService[str, int].pair()

    async with anyio.create_task_group() as group:
        await group.start(Caller(service).call, "answered")
        (await handle.next_request()).send_response(1)
        scope = await group.start(Caller(service).call, "cancelled")
        await handle.next_request()
        scope.cancel()

    assert service._state.open == set()


def test_mock_shows_what_is_allowed() -> None:
    """A stack prints itself."""
    service, handle = MockService[str, int].pair()
    unlimited = repr(service)
    handle.allow(2)

    assert (unlimited, repr(service)) == ("MockService(unlimited)", "MockService(2 allowed)")


async def test_mock_under_a_limit_sees_one_call_at_a_time() -> None:
    """The layer's surplus waits in the layer."""
    service, handle = MockService[str, int].pair()
    limited = ConcurrencyLimitLayer(1).layer(service)

    async def call(request: str) -> None:
        await limited.call(request)

    async with anyio.create_task_group() as group:
        group.start_soon(call, "one")
        group.start_soon(call, "two")
        await settled()
        assert (handle.pending, limited.capacity()) == (1, 0)
        (await handle.next_request()).send_response(1)
        (await handle.next_request()).send_response(2)

    assert limited.capacity() == 1


@pytest.mark.virtual_time
async def test_mock_under_a_timeout_sees_its_caller_go() -> None:
    """A service that never answers needs no sleep of its own."""
    service, handle = MockService[str, int].pair()
    timed = TimeoutLayer(2).layer(service)

    with pytest.raises(Elapsed):
        await timed.call("one")

    assert (await handle.next_request()).cancelled
    assert anyio.current_time() == 2


@pytest.mark.virtual_time
async def test_mock_under_a_retry_sees_every_run() -> None:
    """Each run is a call with an answer of its own."""
    service, handle = MockService[str, int].pair()
    retried = RetryLayer(3).layer(service)
    answers: list[int] = []

    async def call() -> None:
        answers.append(await retried.call("one"))

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        (await handle.next_request()).send_error(ConnectionError())
        await checkpoint()
        (await handle.next_request()).send_response(2)

    assert answers == [2]
