"""The backend in one SQLite file: durable, shared by several processes of one machine."""

from layered.backends.sqlite.storage import SqliteStorage as SqliteStorage
