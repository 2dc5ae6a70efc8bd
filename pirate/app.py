"""What an app may import, to annotate the context that it is given."""

from pirate.worker.app import Context

__all__ = ["Context"]
