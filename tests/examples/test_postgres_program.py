"""The program on PostgreSQL, run as it is, on every loop."""

import pytest

from examples import postgres as program


async def test_postgres_program_shows_a_key_a_worker_and_a_look(
    postgres: str, postgres_schema: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mail that replaced another is sent, and the one that cannot be is found."""
    await program.main(postgres, postgres_schema)

    assert capsys.readouterr().out.splitlines() == [
        "replaced",
        "pears to ada@example.org",
        "Email dead ['no address: bob']",
        "Email {'done': 1, 'dead': 1}",
    ]
