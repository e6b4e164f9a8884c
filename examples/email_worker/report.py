"""
The report: what was asked for, what arrived, and what happened to the rest.

Two witnesses are compared that know nothing of each other: the ledger of the
mail server (what was accepted) and the rows of the store (what the worker
believes).
"""

from __future__ import annotations

import collections
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence

import attrs

from examples.email_worker.faults import Fault, refusal
from examples.email_worker.message import task_of, wire_address

MOST_SHOWN = 10
TERMINAL = frozenset({"done", "dead", "cancelled"})

KILLED = "accepted, its worker was killed before that was stored"
SLOW = "accepted, the answer came after the time limit"
DROPPED = "accepted, the connection dropped before the answer"
UNSEEN = "accepted in time, the worker did not see the answer"


@attrs.frozen
class Ordered:
    """One accepted push; `at` is Unix time, in seconds."""

    task_id: str
    to: str
    at: float


@attrs.frozen
class Delivery:
    """One line of the server's ledger; `at` is Unix time, in seconds."""

    task_id: str
    at: float
    fault: Fault


@attrs.frozen
class Row:
    """How one task ended in the store; `attempt` is 1 after a single run."""

    state: str
    attempt: int
    reason: str = ""


@attrs.frozen
class Report:
    """All that the demo claims; times in seconds, mappings by reason."""

    pushed: int
    delivered: int
    twice: Mapping[str, int]
    faults: Mapping[str, int]
    retried: int
    dead: Mapping[str, int]
    stale: int
    p50: float
    p95: float
    lost: Sequence[str]

    def __str__(self) -> str:
        """Give the report as it is printed."""
        lines = [
            f"pushed                {self.pushed:6}",
            f"delivered (distinct)  {self.delivered:6}",
            *_counted("delivered twice", self.twice),
            *_counted("server faults", self.faults),
            f"tasks retried         {self.retried:6}",
            *_counted("dead", self.dead),
            f"stale writes refused  {self.stale:6}",
            f"push to delivery      p50 {self.p50:.2f} s, p95 {self.p95:.2f} s",
            f"lost                  {len(self.lost):6}",
            *(f"  {who}" for who in self.lost[:MOST_SHOWN]),
        ]
        if len(self.lost) > MOST_SHOWN:
            lines.append(f"  and {len(self.lost) - MOST_SHOWN} more")
        return "\n".join(lines)


def read_ledger(text: str) -> list[Delivery]:
    """Read the ledger's complete lines, also while the server is still writing."""
    lines = text.splitlines(keepends=True)
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return [
        Delivery(task_of(entry["message_id"]), entry["at"], Fault(entry["fault"]))
        for entry in entries
    ]


def deliverable(to: str) -> bool:
    """Say whether the server would ever take mail for *to*, as the file has it."""
    return refusal(wire_address(to)) is None


def make_report(
    orders: Sequence[Ordered],
    ledger: Sequence[Delivery],
    rows: Mapping[str, Row],
    *,
    taken_over_at: float,
    stale: int,
    faults: Mapping[Fault, int],
) -> Report:
    """
    Compare the two witnesses.

    Args:
        orders: Every accepted push.
        ledger: What the server accepted, in its order.
        rows: The store's rows by task id, read after the last worker ended.
        taken_over_at: When the second worker started, Unix time.
        stale: How many writes of workers the store refused as stale.
        faults: What the server says that it did, `Fault.NONE` included.
    """
    deliveries: dict[str, list[Delivery]] = collections.defaultdict(list)
    for delivery in ledger:
        deliveries[delivery.task_id].append(delivery)
    waits = [
        deliveries[order.task_id][0].at - order.at
        for order in orders
        if order.task_id in deliveries
    ]
    dead = [row.reason for row in rows.values() if row.state == "dead"]
    return Report(
        pushed=len(orders),
        delivered=len(deliveries),
        twice=_why_twice(deliveries.values(), taken_over_at),
        faults={kind: count for kind, count in faults.items() if kind is not Fault.NONE},
        retried=sum(row.attempt > 1 for row in rows.values()),
        dead=collections.Counter(dead),
        stale=stale,
        p50=percentile(waits, 50),
        p95=percentile(waits, 95),
        lost=[
            f"{order.to}: {why}"
            for order in orders
            if (why := _why_lost(order, rows, deliveries)) is not None
        ],
    )


def percentile(values: Iterable[float], percent: float) -> float:
    """Give the nearest-rank percentile; NaN if there are no values."""
    ranked = sorted(values)
    if not ranked:
        return math.nan
    return ranked[max(1, math.ceil(percent / 100 * len(ranked))) - 1]


def _why_lost(
    order: Ordered, rows: Mapping[str, Row], delivered: Mapping[str, object]
) -> str | None:
    row = rows.get(order.task_id)
    if row is None:
        return "not in the store"
    if row.state not in TERMINAL:
        return f"still {row.state}"
    if deliverable(order.to) and row.state == "dead":
        return f"dead: {row.reason}"
    if deliverable(order.to) and order.task_id not in delivered:
        return f"{row.state}, but not in the ledger"
    return None


def _why_twice(deliveries: Iterable[Sequence[Delivery]], taken_over_at: float) -> Mapping[str, int]:
    """Count each repeated delivery by what hid the one before it."""
    reasons: collections.Counter[str] = collections.Counter()
    for times in deliveries:
        for first, again in itertools.pairwise(times):
            if first.fault is Fault.SLOW_AFTER:
                reasons[SLOW] += 1
            elif first.fault is Fault.DROP_AFTER:
                reasons[DROPPED] += 1
            elif first.at <= taken_over_at <= again.at:
                reasons[KILLED] += 1
            else:
                reasons[UNSEEN] += 1
    return reasons


def _counted(title: str, counts: Mapping[str, int]) -> list[str]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        f"{title:22}{sum(counts.values()):6}",
        *(f"{number:10}  {reason}" for reason, number in ranked),
    ]
