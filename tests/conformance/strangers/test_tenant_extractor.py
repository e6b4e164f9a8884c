"""A stranger's extractor: one file, and one line that checks it."""

from typing import Any

import attrs
from anyio.lowlevel import checkpoint

from layered import Task
from layered.testing import Sample, check_extractor


@attrs.frozen
class Tenant:
    """Whom a task is done for, by its metadata."""

    name: str

    @classmethod
    async def from_task(cls, task: Task[Any], /) -> "Tenant":
        await checkpoint()  # it may be looked up somewhere
        return cls(task.metadata["tenant"])


def test_tenant_is_an_extractor() -> None:
    """It keeps all the rules of extractors."""
    check_extractor(
        Tenant,
        Sample(Tenant("acme"), metadata={"tenant": "acme"}),
        Sample(Tenant("zeta"), metadata={"tenant": "zeta"}),
        Sample(raises=KeyError),
    )
