"""`RetryLayer`: runs a call again, by tenacity's policies."""

from layered.layers.retry.layer import RetriesExhausted as RetriesExhausted
from layered.layers.retry.layer import Retry as Retry
from layered.layers.retry.layer import RetryLayer as RetryLayer
