"""Other libraries, each in an environment of its own, and ours beside them."""
