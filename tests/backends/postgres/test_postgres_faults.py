"""What errors of the server and of the driver become."""

import pytest
from psycopg import Error, InterfaceError, errors
from psycopg.conninfo import make_conninfo

from layered.backends.postgres import PostgresStorage
from layered.backends.postgres.faults import shown, translate
from layered.errors import BackendBroken, BackendError, Fatal, Full, Transient

WHERE = "db.example:5432/jobs"

MEANT: dict[str, type[BackendError]] = {
    "08006": BackendBroken,  # connection failure
    "22021": Fatal,  # characters that the encoding has not
    "23514": Fatal,  # a check failed
    "25006": Transient,  # read-only: after a failover, for a while
    "25P02": BackendBroken,  # in a transaction that failed
    "25P03": BackendBroken,  # idle in a transaction for too long
    "28P01": Fatal,  # wrong password
    "3D000": Fatal,  # no such database
    "3F000": Fatal,  # no such schema
    "40001": Transient,  # could not serialise
    "40P01": Transient,  # deadlock
    "42501": Fatal,  # no right to
    "42601": Fatal,  # syntax
    "42P01": Fatal,  # no such table
    "53000": Transient,
    "53100": Full,  # disk full
    "53200": Transient,  # out of memory
    "53300": Transient,  # too many connections
    "54000": Fatal,  # a program limit
    "55P03": Transient,  # lock not available
    "57014": Transient,  # cancelled, or past statement_timeout
    "57P01": BackendBroken,  # the administrator stops the server, or this session
    "57P02": BackendBroken,  # crash
    "57P03": BackendBroken,  # starting up
    "58030": BackendBroken,  # I/O
    "XX001": Fatal,  # damage
}


@pytest.mark.parametrize("state", MEANT)
def test_sqlstate_becomes_the_error_that_says_what_to_do(state: str) -> None:
    """By its code or its class; the cause is kept."""
    error = type("Raised", (errors.DatabaseError,), {"sqlstate": state})("what the server says")

    made = translate(error, WHERE)

    assert type(made) is MEANT[state]
    assert made.__cause__ is error
    assert str(made).startswith(f"using {WHERE}: ")
    assert "what the server says" in str(made)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.OperationalError("the connection is lost"), BackendBroken),
        (InterfaceError("the connection is closed"), BackendBroken),
        (OSError(104, "connection reset by peer"), BackendBroken),
        (TimeoutError("timed out"), BackendBroken),
        (errors.DataError("PostgreSQL text fields cannot contain NUL"), Fatal),
        (errors.ProgrammingError("the query has 1 placeholder"), Fatal),
    ],
)
def test_error_without_sqlstate_is_of_the_connection_or_of_the_driver(
    error: Error | OSError, kind: type[BackendError]
) -> None:
    """A connection that broke is opened again; a statement that cannot be made is not."""
    assert type(translate(error, WHERE)) is kind


def test_error_of_several_lines_becomes_one_line() -> None:
    """The server's messages have details on lines of their own."""
    assert "\n" not in str(translate(errors.DataError("one\nDETAIL:  two\n"), WHERE))


REFUSED: dict[str, tuple[dict[str, str], type[BackendError], str]] = {
    "no such database": ({"dbname": "nowhere"}, Fatal, "no such database"),
    "no such user": ({"user": "nobody"}, Fatal, "refuses this user"),
    "no server": ({"port": "1"}, BackendBroken, "cannot be reached"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_storage_tells_why_it_was_not_let_in(postgres: str, name: str) -> None:
    """Not by SQLSTATE: libpq tells none of a log-in. It never tells the password."""
    changed, kind, meaning = REFUSED[name]
    dsn = make_conninfo(postgres, password="secret", **changed)  # noqa: S106 - of nobody

    with pytest.raises(BackendError, match=meaning) as raised:
        async with PostgresStorage(dsn, str):
            pass

    assert type(raised.value) is kind
    assert "secret" not in f"{raised.value} {raised.value!r}"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('FATAL:  password authentication failed for user "me"', Fatal),
        ('FATAL:  Peer authentication failed for user "me"', Fatal),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "me", no encryption', Fatal),
        ('FATAL:  role "me" is not permitted to log in', Fatal),
        ("FATAL:  sorry, too many clients already", Transient),
        ("FATAL:  remaining connection slots are reserved for superusers", Transient),
        ('FATAL:  too many connections for role "me"', Transient),
        ("FATAL:  the database system is starting up", BackendBroken),
        ("FATAL:  the database system is shutting down", BackendBroken),
        ("FATAL:  das Datenbanksystem wird hochgefahren", BackendBroken),
        ("server closed the connection unexpectedly", BackendBroken),
    ],
)
def test_refused_log_in_is_known_by_its_words(message: str, kind: type[BackendError]) -> None:
    """In another language it is as if the server was away, which is tried again."""
    error = errors.OperationalError(f"connection to server failed: {message}")

    assert type(translate(error, WHERE)) is kind


@pytest.mark.parametrize(
    ("dsn", "where"),
    [
        ("postgresql://me:secret@db.example:5432/jobs?password=secret", WHERE),
        ("host=db.example port=5432 dbname=jobs user=me password='secret'", WHERE),
        ("dbname=jobs password=secret", "the local socket/jobs"),
        ("hostaddr=10.0.0.1 password=secret", "10.0.0.1/"),
    ],
)
def test_dsn_is_shown_without_its_password(dsn: str, where: str) -> None:
    """Where it leads is all that is told."""
    assert shown(dsn) == where


@pytest.mark.parametrize(
    "dsn",
    [
        "secret",
        "postgresql://me:secret%zz@db.example/jobs",
        "postgresql://me:sec ret@db.example/jobs",
        "postgresql://me:secret@[::1/jobs",
        "host=db.example password='secret",
        "mysql://me:secret@db.example/jobs",
    ],
)
def test_dsn_that_cannot_be_read_is_refused_without_its_password(dsn: str) -> None:
    """What libpq says repeats a part of it, which may be the password."""
    with pytest.raises(ValueError, match="the DSN cannot be read") as raised:
        PostgresStorage(dsn, str)

    assert "sec" not in str(raised.value)
