"""The process of a worker that is called in a test's own process."""

from __future__ import annotations

from typing import Any

from pirate.testing.world.processes import NoDelay
from pirate.worker.environment import RunDelay, WorkerEnvironment


class QuietEnvironment(WorkerEnvironment):
    """
    A process whose time passes only when a test says so, and that ignores signals.

    :ivar time: the time in seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.clock = lambda: self.time
        self.delay = NoDelay()

    def runDelay(self) -> RunDelay:
        """Return a delay of 0, or what a test has set."""
        return self.delay

    def handle(self, number: int, handler: Any) -> None:
        """Leave the test's own handlers as they are."""
