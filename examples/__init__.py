"""Programs that use `layered` as an application would."""
