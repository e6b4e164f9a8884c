"""The one server that all tests of a process share, started when it is first wanted."""

import atexit
import os
from functools import cache

from tests.servers.postgres import Server


@cache
def postgres_dsn() -> str:
    """
    Answer the DSN of the server.

    ``LAYERED_TEST_POSTGRES`` in the environment names one to use instead of our own, as a DSN
    of a user who may create schemas.
    """
    if dsn := os.environ.get("LAYERED_TEST_POSTGRES"):
        return dsn
    server = Server()
    server.__enter__()
    atexit.register(server.__exit__, None, None, None)
    return server.dsn
