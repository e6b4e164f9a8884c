"""Tasks in PostgreSQL."""

from layered.backends.postgres.storage import PostgresStorage as PostgresStorage
