"""
Show that the installed wheel works by itself: no checkout, no development tools, no trio.

Run by ``make wheel`` in a throw-away environment, outside the checkout.
"""

import sys
from importlib.metadata import version
from importlib.resources import files

import layered

UNWANTED = {"coredis", "psycopg", "pytest", "sqlite3", "trio"}
if loaded := UNWANTED & sys.modules.keys():
    sys.exit(f"import layered loaded {sorted(loaded)}; import them where they are used")
if not files(layered).joinpath("py.typed").is_file():
    sys.exit("the wheel has no layered/py.typed: checkers would ignore its types")

import anyio  # noqa: E402 - only after the look at what layered alone loads
import attrs  # noqa: E402


@attrs.frozen
class Email:
    """The arguments of one task."""

    to: str


sent: list[str] = []


async def send_email(email: Email) -> None:
    """Note that *email* was sent."""
    sent.append(email.to)


async def main() -> None:
    """Push one task, run it, stop."""
    async with layered.MemoryStorage(Email) as storage:
        await storage.push(Email("ada@example.org"))
        await layered.WorkerBuilder("smoke").backend(storage).build(send_email).run(burst=True)


anyio.run(main)
if sent != ["ada@example.org"]:
    sys.exit(f"the worker ran {sent!r}; expected exactly the pushed task")
print(f"layered-tasks {version('layered-tasks')}: pushed and ran one task from {layered.__file__}")
