"""The backend contract, the client on top of it, and the poll policy."""

from layered.backend.contract import Backend as Backend, Durability, Lists, Renews, Transactional
from layered.backend.options import PushOptions
from layered.backend.poll import Poll
from layered.backend.signal import Signal
from layered.backend.storage import ArgsLike, Form, KindsLike, Storage as Storage, StorageOptions
from layered.backend.types import (
    ALREADY,
    APPLIED,
    MAX_ERROR,
    STALE,
    Answer,
    Cancelled,
    Claimant,
    Claimed,
    Dead,
    Done,
    Ending,
    Failure,
    Limits as Limits,
    Pushed as Pushed,
    Reaped,
    Record as Record,
    Release,
    Renew,
    Renewal,
    Retry,
    Settle,
    Verdict,
)

__all__ = [
    "ALREADY",
    "APPLIED",
    "MAX_ERROR",
    "STALE",
    "Answer",
    "ArgsLike",
    "Cancelled",
    "Claimant",
    "Claimed",
    "Dead",
    "Done",
    "Durability",
    "Ending",
    "Failure",
    "Form",
    "KindsLike",
    "Lists",
    "Poll",
    "PushOptions",
    "Reaped",
    "Release",
    "Renew",
    "Renewal",
    "Renews",
    "Retry",
    "Settle",
    "Signal",
    "StorageOptions",
    "Transactional",
    "Verdict",
]
