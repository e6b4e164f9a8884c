"""The backend in memory: the contract in plain data, and the model for the others."""

from layered.backends.memory.storage import MemoryStorage as MemoryStorage
