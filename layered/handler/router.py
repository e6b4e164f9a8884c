"""`Router`: several task types, several handlers, one worker."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Never, TypeVar

import anyio

from layered.handler.accept import shown, union_members
from layered.handler.branch import Branch, Innermost, compile_branch
from layered.handler.setting import Site
from layered.service import HasCall
from layered.task import Kind, Task

if TYPE_CHECKING:
    from typing_extensions import TypeForm

A = TypeVar("A")
B = TypeVar("B")


class Router(Generic[A]):
    """
    Sends each task type to its own handler.

    Immutable: `route` answers a new router. A worker checks that there is
    exactly one branch for every type of its storage::

        worker = builder.build(Router().route(Email, send_email).route(Sms, send_sms))
    """

    __slots__ = ("routes",)

    routes: tuple[tuple[object, object], ...]

    def __init__(self: Router[Never]) -> None:
        self.routes = ()

    def route(
        self,
        form: TypeForm[B],
        handler: Callable[Concatenate[B, ...], object] | HasCall[Task[B], object],
        /,
    ) -> Router[A | B]:
        """
        Handle tasks whose arguments are of type *form*, or of one of a union's types.

        Args:
            form: The type, as the storage was told it.
            handler: A function, a service, or an object with `call`; its
                `ready` and `capacity` bound the fetch of its own tasks only.
        """
        answer: Router[A | B] = object.__new__(Router)
        forms = union_members(form) or (form,)
        answer.routes = (*self.routes, *((each, handler) for each in forms))
        return answer

    def __repr__(self) -> str:
        """Show the types."""
        routes = "".join(f".route({shown(form)}, ...)" for form, _ in self.routes)
        return f"Router(){routes}"


class Routed:
    """
    The service that dispatches by the task's name.

    Args:
        branches: The compiled handlers.
    """

    __slots__ = ("_calls", "_services", "_text")

    def __init__(self, branches: Sequence[Branch]) -> None:
        self._services: Sequence[Innermost] = [each.service for each in branches]
        self._calls = {name: each.service.call for each in branches for name in each.names}

    def call(self, task: Task[Any], /) -> Awaitable[Any]:
        """Call the branch of the task's type."""
        return self._calls[task.run.record.name](task)

    async def ready(self) -> None:
        """
        Wait until one branch could start another call.

        A branch with room is enough, so a full one holds up no other.
        """
        if any(each.capacity() > 0 for each in self._services):
            return
        trouble: list[Exception] = []
        async with anyio.create_task_group() as tasks:
            for each in self._services:
                tasks.start_soon(_first, each, tasks.cancel_scope, trouble)
        if trouble:
            raise trouble[0]

    def capacity(self) -> int:
        """Tell how many calls could start now, in all branches together."""
        return min(sys.maxsize, sum(max(0, each.capacity()) for each in self._services))

    def __repr__(self) -> str:
        """Show the branches."""
        return f"Router({', '.join(map(repr, self._services))})"


async def _first(service: Innermost, scope: anyio.CancelScope, trouble: list[Exception]) -> None:
    try:
        await service.ready()
    except Exception as error:  # noqa: BLE001 - raised outside of the task group
        trouble.append(error)
    scope.cancel()


def compile_routes(router: Router[Any], kinds: Sequence[Kind[Any]], site: Site) -> list[Branch]:
    """Compile all branches; append what is wrong with them or missing."""
    branches: list[Branch] = []
    seen: list[object] = []
    stored = ", ".join(shown(kind.form) for kind in kinds)
    for form, handler in router.routes:
        taken = [kind for kind in kinds if kind.form == form]
        name = shown(form)
        if form in seen:
            site.problems.append(f"the router has two branches for {name}; leave one of them")
        elif not taken:
            site.problems.append(
                f"the router has a branch for {name}, which the storage does not hold ({stored}); "
                "take the branch out or add the type to the storage"
            )
        elif isinstance(handler, Router):
            site.problems.append(
                f"the router has a router as its branch for {name}; add that one's routes to it"
            )
        elif branch := compile_branch(handler, taken, site):
            branches.append(branch)
        seen.append(form)
    site.problems.extend(
        f"the router has no branch for {shown(kind.form)}, which the storage holds; add one: "
        f".route({shown(kind.form)}, ...)"
        for kind in kinds
        if kind.form not in seen
    )
    return branches


def capacities(branches: Sequence[Branch]) -> Mapping[str, int]:
    """Tell, per task name, how many calls could start now."""
    return {name: each.service.capacity() for each in branches for name in each.names}
