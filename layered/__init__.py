"""layered: a middleware-stack framework for background tasks."""
