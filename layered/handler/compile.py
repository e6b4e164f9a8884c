"""`compile_handler`: whatever a user writes becomes a service, once, when a worker is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs

from layered.handler.branch import Branch, compile_branch
from layered.handler.lifetime import Lifetime
from layered.handler.router import Routed, Router, capacities, compile_routes
from layered.handler.setting import Setting, Site
from layered.handler.source import Injected
from layered.handler.thread import Threads
from layered.service import Service
from layered.task import Kinds, Task


@attrs.frozen(eq=False)
class Handler:
    """
    A compiled handler.

    Args:
        service: The innermost service of the stack; its outcomes are
            normalised: a value, or an exception.
        names: The names of the tasks that it handles.
        injected: All filled parameters, in order.
        description: What it is called: ``send_email (app.py:12)``.
    """

    service: Service[Task[Any], Any]
    names: Sequence[str]
    injected: Sequence[Injected]
    description: str
    _branches: Sequence[Branch]
    _lifetime: Lifetime

    def capacities(self) -> Mapping[str, int]:
        """Tell, per task name, how many calls could start now, without waiting."""
        return capacities(self._branches)

    def opened(self) -> AbstractAsyncContextManager[None]:
        """
        Set up the worker-scoped dependencies; tear them down at the end, the last one first.

        Calls are possible only inside, if there are such dependencies.

        Raises:
            WrongState: if it is open already.
        """
        return self._lifetime.opened()


def compile_handler(
    handler: object, kinds: Kinds[Any], setting: Setting, problems: list[str]
) -> Handler | None:
    """
    Compile *handler* for tasks of *kinds*.

    Args:
        handler: An async or plain function, a `Service`, an object with
            `call`, or a `Router`.
        kinds: The task types of the storage.
        setting: What the worker provides.
        problems: Where all that is wrong is appended, each with its way out.

    Returns:
        The handler, or `None` if something was appended.
    """
    before = len(problems)
    site = Site(setting, Lifetime(setting.teardown_timeout), problems, Threads(setting.threads))
    branches: list[Branch] = []
    if isinstance(handler, Router):
        branches = compile_routes(handler, list(kinds), site)
    elif branch := compile_branch(handler, list(kinds), site):
        branches = [branch]
    if len(problems) > before:
        return None
    service: Any = Routed(branches) if isinstance(handler, Router) else branches[0].service
    return Handler(
        service,
        [name for branch in branches for name in branch.names],
        [injected for branch in branches for injected in branch.injected],
        repr(service),
        branches,
        site.lifetime,
    )
