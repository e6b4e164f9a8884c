"""
Rules, and what checks a subject against them: what all conformance suites share.

A rule is an async function. Its name is the rule in a few words and its
docstring says more; it fails by `equal` or `true`, or with any other error.
There is no ``assert`` in a rule: what it finds must not depend on how the
interpreter was started.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from importlib.util import find_spec
from typing import Generic, TypeAlias, TypeVar

import anyio
import attrs

from layered.errors import WrongState
from layered.service.clock import loop_runs
from layered.testing.clock import virtual_backend

S = TypeVar("S")

Checks: TypeAlias = Callable[[S], Awaitable[None]]

LIMIT = 30.0
"""Seconds until a subject counts as hanging."""


class RuleBroken(AssertionError):
    """A subject does not keep a rule; the message says which, and what was found."""


def equal(found: object, wanted: object, what: str) -> None:
    """Fail, saying *what* was looked at, if *found* is not *wanted*."""
    if found != wanted:
        msg = f"{what}: got {found!r}, must be {wanted!r}"
        raise RuleBroken(msg)


def true(found: object, what: str) -> None:
    """Fail, saying *what* must hold, if it does not."""
    if not found:
        msg = f"it must hold that {what}"
        raise RuleBroken(msg)


@attrs.frozen(eq=False)
class Rule(Generic[S]):
    """
    One rule of a suite.

    Args:
        function: What checks it, named and documented as the rule.
    """

    function: Checks[S]

    @property
    def __name__(self) -> str:
        """The name of its function; pytest makes test ids of it."""
        return getattr(self.function, "__name__", repr(self.function))

    @property
    def name(self) -> str:
        """The rule in a few words."""
        return self.__name__.replace("_", " ")

    @property
    def text(self) -> str:
        """The rule in a sentence or two."""
        return " ".join((inspect.getdoc(self.function) or "").split())

    async def check(self, subject: S, /) -> None:
        """
        Check *subject* in the running event loop.

        Raises:
            RuleBroken: if it does not keep the rule, or takes longer than 30 s.
        """
        try:
            with anyio.move_on_after(LIMIT) as limit:
                await self.function(subject)
        except Exception as error:
            msg = f"the rule {self}: {_told(error)}"
            raise RuleBroken(msg) from error
        if limit.cancelled_caught:
            msg = f"the rule {self}: it did not end within {LIMIT:g} s"
            raise RuleBroken(msg)

    def __str__(self) -> str:
        """Show name and text."""
        return f"{self.name!r} ({self.text})"


class Suite(Collection[Rule[S]]):
    """
    The rules that all subjects of a kind keep.

    Iterate over it to make each rule a test of its own; `check` is all in one.

    Args:
        kind: What is checked, for messages: ``"backend"``.
        virtual: Whether `check` runs the rules on virtual time.
    """

    def __init__(self, kind: str, *, virtual: bool) -> None:
        self.kind = kind
        self._virtual = virtual
        self._rules: dict[str, Rule[S]] = {}

    def rule(self, function: Checks[S], /) -> Checks[S]:
        """Put *function* into the suite, as a decorator."""
        rule = Rule(function)
        if rule.name in self._rules:
            msg = f"the {self.kind} suite: there is a rule {rule.name!r} already; name it anew"
            raise ValueError(msg)
        self._rules[rule.name] = rule
        return function

    def __getitem__(self, name: str, /) -> Rule[S]:
        """Answer the rule of that name, with spaces or underscores."""
        return self._rules[name.replace("_", " ")]

    def __iter__(self) -> Iterator[Rule[S]]:
        """Go through the rules."""
        return iter(self._rules.values())

    def __len__(self) -> int:
        """Count the rules."""
        return len(self._rules)

    def __contains__(self, rule: object, /) -> bool:
        """Tell whether it is one of these."""
        return rule in self._rules.values()

    def check(self, subject: S, /, *, loops: Sequence[str] = ()) -> None:
        """
        Check *subject* against every rule, each in a new event loop.

        Args:
            subject: What is checked.
            loops: ``"asyncio"`` and ``"trio"``; empty for all that are installed.

        Raises:
            RuleBroken: if it breaks a rule; the message lists all that it breaks.
            WrongState: if an event loop runs in this thread.
        """
        if loop_runs():
            msg = f"checking a {self.kind}: an event loop runs here; check it in a plain function"
            raise WrongState(msg)
        broken: list[str] = []
        for loop in loops or installed_loops():
            for rule in self:
                backend, options = virtual_backend(loop) if self._virtual else (loop, {})
                try:
                    anyio.run(rule.check, subject, backend=backend, backend_options=options)
                except RuleBroken as error:
                    broken.append(f"\n  on {loop}, {error}")
        if broken:
            rules = "a rule" if len(broken) == 1 else f"{len(broken)} rules"
            msg = f"the {self.kind} breaks {rules}:{''.join(broken)}"
            raise RuleBroken(msg)


def _told(error: Exception) -> str:
    """Tell what went wrong; of several errors at once, the first."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, RuleBroken):
        return str(error)
    return f"it raised {type(error).__name__}: {error}"


def installed_loops() -> Sequence[str]:
    """Name the event loops that are installed."""
    return ["asyncio", "trio"] if find_spec("trio") else ["asyncio"]
