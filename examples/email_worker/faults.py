"""
What the mail server does wrong: a function of the recipient and the try.

Nothing here is random at run time: the same seed, recipient and try always
meet the same fault, on every machine.
"""

from __future__ import annotations

import enum
import random
import re

SEED = 2024
SLOW_ANSWER = 1.0
"""Seconds that a slow answer takes; more than a worker waits for one attempt."""


class Fault(enum.StrEnum):
    """What happens to one delivery try; the value is what the ledger shows."""

    NONE = "none"
    TEMPORARY = "temporary refusal"
    SLOW_BEFORE = "slow to accept"
    SLOW_AFTER = "accepted, answered too late"
    DROP_BEFORE = "dropped the connection"
    DROP_AFTER = "accepted, dropped the connection"


# The client cannot tell the two faults of a pair apart, so it tries again
# after both; after an "accepted" the mail is then delivered twice.
_SHARES = {
    Fault.TEMPORARY: 0.05,
    Fault.SLOW_BEFORE: 0.005,
    Fault.SLOW_AFTER: 0.005,
    Fault.DROP_BEFORE: 0.005,
    Fault.DROP_AFTER: 0.005,
}


def fault(recipient: str, attempt: int, *, seed: int = SEED) -> Fault:
    """
    Say how the server treats one delivery try.

    Args:
        recipient: The address as it is sent, any letter case.
        attempt: 1 on the first try for this recipient.
        seed: Another seed is another set of unlucky recipients.
    """
    # A str seed goes through SHA-512, so it is the same in every process;
    # `hash()` is not.
    draw = random.Random(f"{seed}/{recipient.lower()}/{attempt}").random()
    for kind, share in _SHARES.items():
        if draw < share:
            return kind
        draw -= share
    return Fault.NONE


_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def refusal(recipient: str) -> str | None:
    """Give the permanent reason against *recipient*, or None if it can get mail."""
    local, at, domain = recipient.rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local):
        return "malformed address"
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return "malformed address"
    labels = domain.lower().split(".")
    if "." not in domain or not all(map(_LABEL.fullmatch, labels)):
        return "malformed domain"
    if labels[-1] == "invalid":  # reserved by RFC 2606 for exactly this
        return "no such domain"
    if domain.lower() == "closed.example":
        return "no such mailbox"
    return None
