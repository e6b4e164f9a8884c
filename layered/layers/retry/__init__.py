"""`RetryLayer`: runs a call again, by tenacity's policies."""

from layered.layers.retry.layer import (
    RetriesExhausted as RetriesExhausted,
    Retry as Retry,
    RetryLayer as RetryLayer,
)
