"""The programs of `examples/`, run as they are, on every loop."""

import re

import anyio
import pytest

from examples import complete, http_calls


async def test_complete_runs_three_kinds_of_handlers(capsys: pytest.CaptureFixture[str]) -> None:
    """A function, a function with extractors and a service do the same work."""
    await complete.main()

    assert re.sub("[0-9a-f]{8}-[-0-9a-f]{27}", "ID", capsys.readouterr().out).splitlines() == [
        "newton@example.org to ada@example.org: apples",
        "email-worker in state running, task ID, not traced",
        "done newton@example.org to ada@example.org",
        "run 1 of Email: apples",
    ]


async def test_http_calls_get_every_page_that_can_be_had(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Layers work around calls that are no tasks: refusals and a hanging answer are made good."""
    await http_calls.main()

    assert sorted(capsys.readouterr().out.splitlines()) == [
        *(f"/{number}: this is /{number}, tries: 2" for number in range(10)),
        "/slow: this is /slow, tries: 2",
        "gave up on /broken: 503, tries: 3",
    ]


async def test_http_calls_hold_a_place_while_they_wait_for_the_server() -> None:
    """Four may be under way; one is, so there is room for three."""
    async with http_calls.flaky_server() as (port, _):
        service = http_calls.client(port)

        async def call_slow() -> None:
            await service.call("/slow")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call_slow)
            await anyio.wait_all_tasks_blocked()
            room = service.capacity()
            tasks.cancel_scope.cancel()

    assert room == 3
