"""The values that an app is given, and may import."""

from pirate.worker.app import Context

__all__ = ["Context"]
