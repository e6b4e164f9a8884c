"""
Three workers of one name in one program: a function, a function with extractors, a service.

This is the complete example of apalis' page on task handlers, in Python.
Run it with ``python -m examples.complete``.
"""

from __future__ import annotations

import anyio
import attrs

from layered import (
    Data,
    MemoryStorage,
    Service,
    Task,
    TaskId,
    TracingContext,
    WorkerBuilder,
    WorkerContext,
)


@attrs.frozen
class Email:
    """The arguments of a task."""

    to: str
    subject: str


@attrs.frozen
class State:
    """What all tasks of a worker share, such as a client of a mail server."""

    sender: str


async def send_email(email: Email, state: Data[State]) -> None:
    """Process one mail."""
    print(f"{state.sender} to {email.to}: {email.subject}")


async def complex_handler(
    email: Email,  # the task's arguments
    state: Data[State],  # the worker's state, given with .data()
    worker: WorkerContext,  # the worker that runs this
    task_id: TaskId,
    tracing: TracingContext,  # the trace that the push was part of
) -> str:
    """Use everything that can be asked for; the result is kept with the task."""
    traced = "traced" if tracing.trace_id else "not traced"
    print(f"{worker.name} in state {worker.state.value}, task {task_id}, {traced}")
    return f"{state.sender} to {email.to}"


class EmailService(Service[Task[Email], str]):
    """The same as a service: an object with `call`, and `ready` and `capacity` if it wants."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def call(self, request: Task[Email], /) -> str:
        """Process one task, of which a service gets everything."""
        print(f"run {request.attempt} of {request.name}: {request.args.subject}")
        return f"{self.state.sender} to {request.args.to}"


async def main() -> None:
    """Push one mail for each worker, and let each run until its storage is empty."""
    state = State("newton@example.org")
    email = Email("ada@example.org", "apples")

    async with MemoryStorage(Email) as storage:
        await storage.push(email)
        worker = WorkerBuilder("email-worker").backend(storage).data(state).build(send_email)
        await worker.run(until_empty=True)

    async with MemoryStorage(Email) as storage:
        pushed = await storage.push(email)
        extracting = (
            WorkerBuilder("email-worker").backend(storage).data(state).build(complex_handler)
        )
        await extracting.run(until_empty=True)
        for task in await storage.wait_for([pushed.id]):
            print(task.status.label, task.result_as(str))

    async with MemoryStorage(Email) as storage:
        await storage.push(email)
        serving = WorkerBuilder("email-worker").backend(storage).build(EmailService(state))
        await serving.run(until_empty=True)


if __name__ == "__main__":
    anyio.run(main)
