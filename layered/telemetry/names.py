"""
Names of spans' attributes and their values.

Literals, as the package of semantic conventions is unstable and these
names are not. Where a name is OpenTelemetry's, its page is
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
(semantic conventions 1.44.0, status "Development"). There are none for
background jobs; those that start with ``layered.`` are ours.
"""

from __future__ import annotations

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""Of the conventions that these names follow."""

SCOPE = "layered"
"""Name of the instrumentation scope."""

SYSTEM = "messaging.system"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
CLIENT_ID = "messaging.client.id"
ERROR_TYPE = "error.type"
"""Registry "error"; the qualified name of the error's class."""

TASK_NAME = "layered.task.name"
TASK_ATTEMPT = "layered.task.attempt"
"""1 on the first run."""
TASK_MAX_ATTEMPTS = "layered.task.max_attempts"
TASK_OUTCOME = "layered.task.outcome"
"""How a run ended: one of the six that follow."""

DONE = "done"
RETRY = "retry"
"""Failed, and is to run again."""
FAILED = "failed"
KILLED = "killed"
"""Failed for good by the handler's or a layer's word (`Abort`)."""
SNOOZED = "snoozed"
INTERRUPTED = "interrupted"
"""Cancelled, by a user or a worker that stops."""

SEND = "send"
PROCESS = "process"
